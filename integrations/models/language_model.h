// What the trainer needs of a language model; another model is another file beside gpt.h.
#pragma once

#include <leapverify/integrations/models/model_options.h>
#include <torch/torch.h>

#include <cstdint>
#include <memory>

namespace leapverify::models {

class LanguageModel : public torch::nn::Module {
 public:
  using torch::nn::Module::Module;

  /// Activations after the final norm, [batch × time × width], of tokens [batch × time] int64.
  /// Throws ContractError for other shapes and for more time than context().
  virtual torch::Tensor hidden(const torch::Tensor& tokens) = 0;

  /// Scores of the next token, [… × vocabulary], of activations [… × width].
  virtual torch::Tensor logits(const torch::Tensor& hidden) = 0;

  /// Most tokens that hidden() takes in a sequence.
  virtual std::int64_t context() const = 0;

  torch::Tensor forward(const torch::Tensor& tokens) { return logits(hidden(tokens)); }
};

/// Loss of each sequence, [batch], in nats per token: the mean of −log p(target) over its targets
/// other than −100, torch's ignore_index; NaN where there is none. Activations [batch × time ×
/// width] are from hidden(), targets [batch × time] int64.
torch::Tensor sequence_losses(LanguageModel& model, const torch::Tensor& hidden,
                              const torch::Tensor& targets);

/// A freshly initialised model; draws from torch's global RNG. Throws InvalidOption.
std::shared_ptr<LanguageModel> make_model(const ModelOptions& options);

}  // namespace leapverify::models

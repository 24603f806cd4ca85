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

  /// Of the output, [vocabulary × width]: what makes scores of activations.
  virtual torch::Tensor head() const = 0;

  /// Most tokens that hidden() takes in a sequence.
  virtual std::int64_t context() const = 0;

  /// Scores of the next token, [… × vocabulary], of activations [… × width].
  torch::Tensor logits(const torch::Tensor& hidden) const { return torch::linear(hidden, head()); }
  torch::Tensor forward(const torch::Tensor& tokens) { return logits(hidden(tokens)); }
};

/// A target that does not count.
inline constexpr std::int64_t kIgnoredTarget = -100;

/// −log p(target), 0 where the target is kIgnoredTarget, of logits [… × vocabulary] and targets […]
/// int64: for each, flattened, or reduced to a scalar. In fp32, under autocast too.
torch::Tensor cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets,
                            at::Reduction::Reduction reduction);

/// As logits(), with columns of −∞ behind them up to a multiple of `columns`: tokens that never occur.
torch::Tensor padded_logits(const LanguageModel& model, const torch::Tensor& hidden,
                            std::int64_t columns);

/// cross_entropy() of the model's logits of activations from hidden(). On a GPU they are padded where
/// the vocabulary is no multiple of 64, as GPT-2's, whose matrix products take several times as long.
torch::Tensor head_cross_entropy(const LanguageModel& model, const torch::Tensor& hidden,
                                 const torch::Tensor& targets, at::Reduction::Reduction reduction);

/// Loss of each sequence, [batch], in nats per token: the mean of −log p(target) over its targets
/// that count; NaN where there is none. Activations [batch × time × width] are from hidden(),
/// targets [batch × time] int64.
torch::Tensor sequence_losses(const LanguageModel& model, const torch::Tensor& hidden,
                              const torch::Tensor& targets);

class PretrainedModel;

/// The model of the options, on the CPU; draws from torch's global RNG. Throws InvalidOption, and for
/// a pretrained one what load_pretrained() throws.
std::shared_ptr<PretrainedModel> make_model(const ModelOptions& options);

struct ModelSize {
  /// Most tokens of a sequence.
  std::int64_t context = 0;
  std::int64_t vocabulary = 0;
};

/// Of the model that make_model() would make. Throws alike.
ModelSize model_size(const ModelOptions& options);

}  // namespace leapverify::models

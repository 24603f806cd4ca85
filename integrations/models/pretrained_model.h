// A language model that Hugging Face's transformers knows too: its weights have names and layouts
// there, and a config.json describes it.
#pragma once

#include <leapverify/integrations/models/activation_checkpoint.h>
#include <leapverify/integrations/models/language_model.h>
#include <leapverify/integrations/models/lora_linear.h>
#include <leapverify/kernels/error.h>

#include <memory>
#include <string>
#include <vector>

namespace leapverify::models {

/// A parameter and what it is called in a file of weights.
struct StoredWeight {
  std::string name;
  torch::Tensor parameter;
  /// The file holds the transpose.
  bool transposed = false;
  /// The linear layer of a block whose matrix it is; null for all other parameters.
  LoraLinear layer{nullptr};

  /// A tensor in the layout of the parameter, the parameter or its gradient, seen in the file's.
  torch::Tensor as_stored(const torch::Tensor& tensor) const {
    return transposed ? tensor.t() : tensor;
  }
};

/// What a file of weights holds.
struct StoredWeights {
  /// Every parameter once, but for adapters.
  std::vector<StoredWeight> weights;
  /// Names may stand without this in a file, all but "lm_head.weight".
  std::string prefix;
  /// The weight that a file may hold a second time as "lm_head.weight"; empty when the output head
  /// is a weight of its own.
  std::string head_is;
  /// Ends of the names of tensors that older versions of transformers wrote and nobody reads.
  std::vector<std::string> ignored;
};

class PretrainedModel : public LanguageModel {
 public:
  using LanguageModel::LanguageModel;

  /// The parameters, adapters apart, sharing their memory.
  virtual StoredWeights stored_weights() const = 0;

  /// The text of the config.json that describes it.
  virtual std::string config_json() const = 0;

  /// Of the adapters that it has (lora.h); rank 0 when there are none.
  const LoraOptions& lora() const { return lora_; }

  /// Whether training keeps a block's input only and runs the block again in the backward pass, see
  /// checkpoint(). Off at first.
  void set_activation_checkpointing(bool on) { activation_checkpointing_ = on; }

 protected:
  /// Throws ContractError for tokens that hidden() does not take.
  void check_tokens(const torch::Tensor& tokens) const {
    LV_CHECK(tokens.dim() == 2 && tokens.size(1) <= context(),
             "tokens " << tokens.sizes() << ", expected [batch, at most " << context() << "]");
  }

  /// x after all of `blocks`, modules of type Block whose forward() takes x and `arguments`, with
  /// or without activation checkpointing.
  template <class Block, class... Arguments>
  torch::Tensor run_blocks(const torch::nn::ModuleList& blocks, torch::Tensor x,
                           const Arguments&... arguments) const {
    for (const auto& module : *blocks) {
      const auto block = std::static_pointer_cast<Block>(module);
      const Segment run = [block, arguments...](const torch::Tensor& input) {
        return block->forward(input, arguments...);
      };
      const bool checkpointed = activation_checkpointing_ && torch::GradMode::is_enabled();
      x = checkpointed ? checkpoint(run, x, block->parameters()) : run(x);
    }
    return x;
  }

 private:
  friend void add_lora(PretrainedModel& model, const LoraOptions& options);
  friend void merge_lora(PretrainedModel& model);

  bool activation_checkpointing_ = false;
  LoraOptions lora_;
};

}  // namespace leapverify::models

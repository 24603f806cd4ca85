// GPT-2: learned positions, pre-LayerNorm blocks, output head tied to the token embedding.
// Source: Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
#pragma once

#include <leapverify/integrations/models/gpt2_options.h>
#include <leapverify/integrations/models/pretrained_model.h>

namespace leapverify::models {

class Gpt2 : public PretrainedModel {
 public:
  /// Fresh weights: from N(0, d²) with d the initial deviation, those that write into the residual
  /// stream from N(0, d²/(2·layers)), biases 0. Draws from torch's global RNG. Throws InvalidOption.
  explicit Gpt2(const Gpt2Options& options);

  torch::Tensor hidden(const torch::Tensor& tokens) override;
  torch::Tensor head() const override { return token_embedding_->weight; }
  std::int64_t context() const override { return options_.context; }

  StoredWeights stored_weights() const override;
  std::string config_json() const override;

 private:
  void initialise();

  Gpt2Options options_;
  torch::nn::Embedding token_embedding_{nullptr};
  torch::nn::Embedding position_embedding_{nullptr};
  torch::nn::ModuleList blocks_;
  torch::nn::LayerNorm final_norm_{nullptr};
};

}  // namespace leapverify::models

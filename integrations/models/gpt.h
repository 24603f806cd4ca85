// A GPT small enough to train on two CPU cores: learned positions, pre-LayerNorm blocks, output
// head tied to the token embedding.
#pragma once

#include <leapverify/integrations/models/language_model.h>

namespace leapverify::models {

class Gpt : public LanguageModel {
 public:
  /// Initialised as GPT-2: weights from N(0, 0.02²), those that write into the residual stream from
  /// N(0, 0.02²/(2·layers)), biases 0. Draws from torch's global RNG. Throws InvalidOption.
  explicit Gpt(const GptOptions& options);

  torch::Tensor hidden(const torch::Tensor& tokens) override;
  torch::Tensor logits(const torch::Tensor& hidden) override;
  std::int64_t context() const override { return options_.context; }

 private:
  void initialise();

  GptOptions options_;
  torch::nn::Embedding token_embedding_{nullptr};
  torch::nn::Embedding position_embedding_{nullptr};
  torch::nn::ModuleList blocks_;
  torch::nn::LayerNorm final_norm_{nullptr};
};

}  // namespace leapverify::models

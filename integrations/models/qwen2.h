// Qwen2 and Qwen2.5: rotary positions, RMSNorm, grouped-query attention whose q, k and v have
// biases, SwiGLU. Source: Qwen Team, Qwen2.5 Technical Report, arXiv 2412.15115.
#pragma once

#include <leapverify/integrations/models/pretrained_model.h>
#include <leapverify/integrations/models/qwen2_options.h>

namespace leapverify::models {

class Qwen2 : public PretrainedModel {
 public:
  /// Fresh weights: from N(0, d²) with d the initial deviation, biases 0, norms 1. Draws from
  /// torch's global RNG. Throws InvalidOption.
  explicit Qwen2(const Qwen2Options& options);

  torch::Tensor hidden(const torch::Tensor& tokens) override;
  torch::Tensor head() const override { return head_.defined() ? head_ : token_embedding_->weight; }
  std::int64_t context() const override { return options_.context; }

  StoredWeights stored_weights() const override;
  std::string config_json() const override;

 private:
  void initialise();

  Qwen2Options options_;
  torch::nn::Embedding token_embedding_{nullptr};
  torch::nn::ModuleList blocks_;
  torch::Tensor final_norm_;
  /// Undefined when the head is the token embedding.
  torch::Tensor head_;
};

}  // namespace leapverify::models

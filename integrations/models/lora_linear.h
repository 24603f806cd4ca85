// A linear layer that may have a low-rank adapter beside it.
#pragma once

#include <leapverify/integrations/models/lora_options.h>
#include <torch/torch.h>

#include <optional>

namespace leapverify::models {

/// x Wᵀ + b, and with an adapter + s · dropout(x) Aᵀ Bᵀ, where s is LoraOptions::scale().
class LoraLinearImpl : public torch::nn::LinearImpl {
 public:
  using LinearImpl::LinearImpl;

  /// `training` decides on dropout, in place of the module's own mode.
  torch::Tensor forward(const torch::Tensor& x, bool training);

  /// A is [rank × in], from the uniform distribution on ±1/√in, drawn from torch's global RNG, and
  /// B [out × rank] zero: at first the layer computes what it did. Dtype and device are those of W.
  void add_adapter(const LoraOptions& lora);

  /// W ← W + s · B A, without the adapter.
  void merge_adapter();

  bool has_adapter() const { return adapter_.has_value(); }
  const torch::Tensor& lora_a() const { return adapter_->a; }
  const torch::Tensor& lora_b() const { return adapter_->b; }

 private:
  struct Adapter {
    torch::Tensor a, b;
    double scale = 0, dropout = 0;
  };

  std::optional<Adapter> adapter_;
};

TORCH_MODULE(LoraLinear);

}  // namespace leapverify::models

#include <leapverify/integrations/models/lora_linear.h>

#include <cmath>
#include <utility>

namespace leapverify::models {

torch::Tensor LoraLinearImpl::forward(const torch::Tensor& x, bool training) {
  // LinearImpl adds the bias in a pass of its own over all activations.
  const torch::Tensor y = torch::linear(x, weight, bias);
  if (!adapter_) return y;
  const torch::Tensor dropped = torch::dropout(x, adapter_->dropout, training);
  const torch::Tensor low = torch::linear(dropped, adapter_->a);
  return y + torch::linear(low, adapter_->b) * adapter_->scale;
}

void LoraLinearImpl::add_adapter(const LoraOptions& lora) {
  Adapter adapter;
  adapter.a =
      register_parameter("lora_a", torch::empty({lora.rank, weight.size(1)}, weight.options()));
  adapter.b =
      register_parameter("lora_b", torch::zeros({weight.size(0), lora.rank}, weight.options()));
  adapter.scale = lora.scale();
  adapter.dropout = lora.dropout;
  torch::nn::init::kaiming_uniform_(adapter.a, std::sqrt(5.0));
  adapter_ = std::move(adapter);
}

void LoraLinearImpl::merge_adapter() {
  const torch::NoGradGuard no_grad;
  weight.add_(torch::matmul(adapter_->b, adapter_->a), adapter_->scale);
  parameters_.erase("lora_a");
  parameters_.erase("lora_b");
  adapter_.reset();
}

}  // namespace leapverify::models

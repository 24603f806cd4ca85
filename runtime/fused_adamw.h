// AdamW whose step is one fused kernel over all tensors, on the CPU and on CUDA.
#pragma once

#include <torch/optim/adamw.h>

#include <memory>

namespace leapverify {

/// torch::optim::AdamW with the same options and the same state, so that either goes on from the
/// other's; weights agree with its up to rounding, and repeat bitwise. Parameters without a gradient
/// are passed by. Never synchronises with the device. Throws ContractError for sparse gradients.
class FusedAdamW : public torch::optim::AdamW {
 public:
  using torch::optim::AdamW::AdamW;

  torch::Tensor step(LossClosure closure = nullptr) override;

 protected:
  /// Steps the parameters of one group that have a gradient.
  virtual void step_group(torch::optim::OptimizerParamGroup& group);
  /// Of a parameter that has taken no step yet, without tensors.
  virtual std::unique_ptr<torch::optim::AdamWParamState> empty_state() const;

  /// The state of a parameter, made where there is none; throws ContractError for a sparse gradient.
  torch::optim::AdamWParamState& state_of(const at::Tensor& parameter);
};

/// Whether the state of `optimizer` is AdamWParamState, and its options are AdamWOptions.
bool is_adamw(const torch::optim::Optimizer& optimizer);

}  // namespace leapverify

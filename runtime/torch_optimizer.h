// LibTorch's optimizers as LeapVerify sees them.
#pragma once

#include <leapverify/runtime/base_optimizer.h>
#include <torch/optim/optimizer.h>

#include <vector>

namespace leapverify {

/// Refers to an optimizer that must outlive it.
class TorchOptimizer : public BaseOptimizer {
 public:
  /// Throws InvalidOption for an optimizer whose state is not known (optimizer_state.h).
  explicit TorchOptimizer(torch::optim::Optimizer& optimizer);

  std::vector<at::Tensor> trained() const override;
  std::vector<at::Tensor> gradients() const override;
  std::vector<double> learning_rates() const override;
  void set_learning_rates(const std::vector<double>& rates) override;
  std::vector<MomentumCoefficient> momenta() const override;
  void set_momenta(const std::vector<double>& momenta) override;
  at::Tensor step(const std::function<at::Tensor()>& closure) override;
  void zero_grad(bool set_to_none) override;
  void scale_moments(double factor) override;
  void reset_state() override;
  /// Of Adam, AdamW (with its weight decay) and SGD with momentum.
  std::vector<ParameterMoments> moments(double steps) const override;
  void check_has_moments() const override;
  std::function<void()> keep_state() override;

 private:
  torch::optim::Optimizer& optimizer_;
};

}  // namespace leapverify

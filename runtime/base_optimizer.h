// What LeapVerify asks of the optimizer that it wraps, in whichever language that is written.
#pragma once

#include <ATen/core/Tensor.h>
#include <leapverify/kernels/adam_direction.h>

#include <functional>
#include <vector>

namespace leapverify {

/// What a parameter's optimizer state says about the steps to come.
struct ParameterMoments {
  /// Undefined before the parameter's first step.
  at::Tensor exp_avg;
  /// Undefined for SGD, whose exp_avg is its momentum buffer.
  at::Tensor exp_avg_sq;
  kernels::AdamRow row;
};

/// What an optimizer keeps of past gradients at a step: Adam's first beta, the momentum of others; 0
/// where it keeps none.
struct MomentumCoefficient {
  double value = 0;
  bool is_first_beta = false;
};

/// An optimizer, its parameters and its state. TorchOptimizer is that of LibTorch's.
class BaseOptimizer {
 public:
  virtual ~BaseOptimizer() = default;

  /// What is trained: the parameters of all groups in order that require gradients, or where they
  /// are sharded, the shards that lie here. Called before every step.
  virtual std::vector<at::Tensor> trained() const = 0;

  /// One for each of trained(), of shards those that lie here; undefined where there is none.
  virtual std::vector<at::Tensor> gradients() const = 0;

  /// One a group.
  virtual std::vector<double> learning_rates() const = 0;
  virtual void set_learning_rates(const std::vector<double>& rates) = 0;

  /// One a group.
  virtual std::vector<MomentumCoefficient> momenta() const = 0;
  /// The values likewise, 0 where a group keeps none.
  virtual void set_momenta(const std::vector<double>& momenta) = 0;

  /// One step, after the closure unless it is null; returns what it returns.
  virtual at::Tensor step(const std::function<at::Tensor()>& closure) = 0;
  virtual void zero_grad(bool set_to_none) = 0;

  /// Multiplies every moment by `factor`; step counters stay.
  virtual void scale_moments(double factor) = 0;
  /// Forgets all state, step counters included.
  virtual void reset_state() = 0;

  /// One for each of trained(), for `steps` steps. Throws InvalidOption for an optimizer without
  /// moments.
  virtual std::vector<ParameterMoments> moments(double steps) const = 0;
  /// Throws InvalidOption where moments() does.
  virtual void check_has_moments() const = 0;

  /// Copies the state and the learning rates; the function returned puts them back, bitwise.
  virtual std::function<void()> keep_state() = 0;

  /// Whether the trained tensors are shards, so that every rank has others.
  virtual bool sharded() const { return false; }
  /// Where they are: adds up each value over the ranks that hold the others.
  virtual void sum_over_shards(std::vector<double>& /*values*/) const {}
};

}  // namespace leapverify

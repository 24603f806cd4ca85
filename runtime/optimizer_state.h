// The state of LibTorch's optimizers: moments, step counters and learning rates, in and out.
#pragma once

#include <leapverify/runtime/safetensors.h>
#include <torch/optim/optimizer.h>

#include <string>

namespace leapverify {

/// State keyed by the position of the parameter in the optimizer, never by its address.
struct OptimizerState {
  /// "3.exp_avg" is the exp_avg of the fourth parameter, counted over all groups.
  NamedTensors tensors;
  /// JSON: the optimizer's kind, step counters and the learning rate of each group.
  std::string json;
};

/// Throws InvalidOption for an optimizer whose state is not known: SGD, Adam, AdamW, FusedAdamW, Muon,
/// RMSprop and Adagrad are; LBFGS is not, since it evaluates the loss several times a step and keeps a history
/// of directions that a leap would falsify.
void check_supported(const torch::optim::Optimizer& optimizer);

OptimizerState export_state(const torch::optim::Optimizer& optimizer);

/// Throws FormatError when the state is of another kind of optimizer or does not fit the
/// parameters; the optimizer is unchanged then.
void import_state(torch::optim::Optimizer& optimizer, const OptimizerState& state,
                  const std::string& source);

/// Multiplies every moment by `factor`; step counters stay.
void scale_moments(torch::optim::Optimizer& optimizer, double factor);

/// Forgets all state, step counters included.
void reset_state(torch::optim::Optimizer& optimizer);

}  // namespace leapverify

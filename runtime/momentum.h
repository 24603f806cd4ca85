// The base optimizer's moments, as the momentum predictor needs them.
#pragma once

#include <leapverify/kernels/adam_direction.h>
#include <leapverify/runtime/tensor_list.h>
#include <torch/optim/optimizer.h>

#include <vector>

namespace leapverify {

/// The steps that an optimizer would take if its moments stayed as they are.
struct Momentum {
  TensorList exp_avg;
  /// Empty for SGD, whose exp_avg is its momentum buffer.
  TensorList exp_avg_sq;
  /// One for each parameter that requires gradients, as for the tensors above.
  std::vector<kernels::AdamRow> rows;
};

/// Throws InvalidOption for an optimizer without such moments: SGD without momentum, RMSprop and
/// Adagrad.
void check_has_momentum(const torch::optim::Optimizer& optimizer);

/// `steps` steps of Adam, AdamW (with its weight decay) or SGD with momentum from the optimizer's
/// present state. Parameters without state yet stay where they are. `half`: moments are rounded to
/// float16 first, where small second moments become zero: the artefact behind the published
/// momentum catastrophe.
Momentum momentum_ahead(const torch::optim::Optimizer& optimizer, double steps, bool half);

}  // namespace leapverify

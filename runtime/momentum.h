// The base optimizer's moments, as the momentum predictor needs them.
#pragma once

#include <leapverify/runtime/base_optimizer.h>
#include <leapverify/runtime/tensor_list.h>

#include <vector>

namespace leapverify {

/// The steps that an optimizer would take if its moments stayed as they are.
struct Momentum {
  TensorList exp_avg;
  /// Empty for SGD, whose exp_avg is its momentum buffer.
  TensorList exp_avg_sq;
  /// One for each trained tensor, as for the tensors above.
  std::vector<kernels::AdamRow> rows;
};

/// `steps` steps from the optimizer's present state. Parameters without state yet stay where they
/// are. `half`: moments are rounded to float16 first, where small second moments become zero: the
/// artefact behind the published momentum catastrophe. Throws InvalidOption for an optimizer without
/// moments.
Momentum momentum_ahead(const BaseOptimizer& optimizer, double steps, bool half);

}  // namespace leapverify

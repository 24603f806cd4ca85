// A training step given as its parts, so that its batch can serve as held-out data first.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace leapverify {

/// The batch of the next step. Until a step is taken on it, it is as held out as a gate set.
struct TrainingBatch {
  /// Runs the model forward on the batch as training does. Returns the loss of each sequence,
  /// [sequences] floating, with its graph. Called once for the step and once for each comparison,
  /// always with the same random generators and buffers.
  std::function<at::Tensor()> losses;
  /// From these losses to gradients: zeroing, mean, backward, clipping. Returns the loss of the step.
  std::function<at::Tensor(const at::Tensor& losses)> backward;
  /// Trained on before, as in a later epoch: then it is not held out.
  bool seen = false;
};

}  // namespace leapverify

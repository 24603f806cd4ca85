// A training step given as its parts, so that its batch can serve as held-out data first.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace leapverify {

/// The batch of the next step. Until a step is taken on it, it is as held out as a gate set.
struct TrainingBatch {
  /// Where several ranks train, of this one's part, equally many on each.
  std::int64_t sequences = 0;
  /// Runs the model forward on the batch as training does and returns the loss of each sequence,
  /// [sequences] floating. Called once for each point that is compared, without gradients and always
  /// with the random generators and buffers that the step itself will find.
  std::function<at::Tensor()> losses;
  /// The step up to the optimizer's: zeroes the gradients, runs forward and backward, clips. Returns
  /// the loss.
  std::function<at::Tensor()> backward;
  /// Trained on before, as in a later epoch: then it is not held out.
  bool seen = false;
};

}  // namespace leapverify

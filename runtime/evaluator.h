// What LeapVerify asks of the user: held-out losses, one a sequence, and activations.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace leapverify {

struct Evaluation {
  /// [sequences] floating: mean loss of each sequence, in nats per token.
  at::Tensor losses;
  /// [sequences × hidden] floating: one activation vector a sequence (such as the final norm's at the
  /// last position); may be undefined unless asked for.
  at::Tensor activations;
};

/// Runs the model, at the weights it holds now, on held-out sequences. The gate set must be carved
/// from the training data, never be trained on, and never be the validation set.
///
/// Calls come in evaluation mode and without gradients; buffers, random generators and modes are
/// put back afterwards. An exception ends the leap, not the run. It must be deterministic and answer
/// for the weights of now: before the first try, LeapVerify changes all weights by a sixteenth and
/// back, and leaps stay off where the losses do not follow exactly (the canary).
class Evaluator {
 public:
  virtual ~Evaluator() = default;

  /// Number of gate sequences, numbered from 0.
  virtual std::int64_t sequence_count() const = 0;

  /// Cost of one training step in forward passes of one gate sequence: about 3 × sequences a step,
  /// a backward pass costing two forwards. Where several ranks train, of this one's part of it.
  virtual double step_cost() const = 0;

  /// Where several ranks train: whether the model runs on all of them at once, as where it is sharded,
  /// so that each rank must be asked for the same sequences. Where not, they share the sequences.
  virtual bool together() const { return false; }

  /// Losses of the given sequences, in that order, and their activations if asked for.
  virtual Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool activations) = 0;
};

}  // namespace leapverify

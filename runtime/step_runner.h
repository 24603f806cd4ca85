// What LeapVerify asks of a training loop whose steps it is to rehearse or to skip.
#pragma once

#include <cstdint>

namespace leapverify {

/// How far a training loop has come, in steps.
struct TrainingPosition {
  /// Of the data: the next batch is the data-th, from 0.
  std::int64_t data = 0;
  /// Of the learning-rate schedule.
  std::int64_t schedule = 0;
};

/// Computes gradients exactly as the training loop does, at any position. Needed for `when: settled`
/// and `raced`, which train some steps from a candidate and take them back, and for `data: skip` and
/// `schedule: advance`, which move the positions on after a leap. A loop then takes its own positions
/// from here too.
class StepRunner {
 public:
  virtual ~StepRunner() = default;

  virtual TrainingPosition position() const = 0;
  virtual void seek(const TrainingPosition& position) = 0;

  /// One step up to the optimizer's: zeroes the gradients, sets the learning rates that the schedule
  /// says, runs forward and backward on the batch, clips. Moves both positions on by one. Must not
  /// step the optimizer, and must depend on nothing but the positions, the model and torch's random
  /// generators.
  virtual void backward() = 0;
};

}  // namespace leapverify

// What a leap was worth, in training steps.
#pragma once

#include <leapverify/runtime/policy/line.h>

#include <cstdint>
#include <vector>

namespace leapverify::policy {

/// The held-out loss of the probes over the steps since the last leap.
class LossCurve {
 public:
  /// Steps ascend; losses that are not finite are left out.
  void add(std::int64_t step, double loss);

  /// Starts a new stretch: the next point does not lie on the old curve.
  void interrupt() { points_.clear(); }

  /// Nats per step by which the loss falls: the least-squares line through the last
  /// kWindow points of this stretch, but at least a tenth of the mean fall since the first point
  /// of the run and at least kFloor. With a single point in the stretch the mean fall since the first
  /// point of the run, which a leap has made steeper and the value of the next one smaller; 0 before
  /// there are two points in all.
  double fall_per_step() const;

  struct State {
    std::vector<LossPoint> first;
    std::vector<LossPoint> points;
  };
  State state() const { return {first_, points_}; }
  void restore(State state);

  static constexpr std::size_t kWindow = 4;
  static constexpr double kFloor = 1e-6;

 private:
  // The first point of the run, if any.
  std::vector<LossPoint> first_;
  std::vector<LossPoint> points_;
};

/// An estimate of the steps that a leap saved, and what it rests on.
struct Value {
  double steps_saved = 0;
  /// Mean gain in nats over the value sequences, and its lower 95 % confidence bound (normal).
  double gain = 0;
  double gain_lower_bound = 0;
  double fall_per_step = 0;
};

/// Steps saved = lower confidence bound of the gain ÷ fall per step, within [0, remaining steps];
/// 0 when the fall is not known.
///
/// reference, candidate: losses of the same sequences, which must not be those that the leap was
/// accepted on (their gain is biased upwards by the selection).
Value value_of_leap(const std::vector<double>& reference, const std::vector<double>& candidate,
                    double fall_per_step, std::int64_t remaining_steps);

}  // namespace leapverify::policy

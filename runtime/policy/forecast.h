// What the loss would be some steps from now without a leap, and how wrong such forecasts have been:
// the yardstick of leaps that are judged only after some more training.
#pragma once

#include <leapverify/runtime/policy/line.h>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace leapverify::policy {

/// The least-squares line through the last kWindow points of the held-out loss, carried on. Every
/// point that comes is also the outcome of a forecast made `ahead` steps or more before it, of a
/// leap that was not made; the errors of these pseudo-leaps calibrate the test (conformal prediction:
/// Vovk, Gammerman and Shafer 2005).
class Forecast {
 public:
  /// ahead: steps between a leap and its judgement.
  explicit Forecast(std::int64_t ahead) : ahead_(ahead) {}

  /// Steps ascend; losses that are not finite are left out.
  void add(std::int64_t step, double loss);

  /// Starts a new stretch: the next point does not lie on the old curve. Known errors stay.
  void interrupt() { state_.points.clear(); }

  /// The loss expected at `step`; absent before there are two points in the stretch.
  std::optional<double> at(std::int64_t step) const;

  /// A loss at `step` below this one would be so far below its forecast that without a leap it comes
  /// about with a chance of at most alpha, as long as the errors of forecasts stay alike. Absent
  /// without a forecast and while there are fewer than 1/alpha − 1 known errors.
  std::optional<double> limit(std::int64_t step, double alpha) const;

  struct State {
    std::vector<LossPoint> points;
    /// Forecast − outcome, oldest first.
    std::vector<double> errors;
  };
  const State& state() const { return state_; }
  void restore(State state) { state_ = std::move(state); }

  static constexpr std::size_t kWindow = 4;
  static constexpr std::size_t kMostErrors = 200;

 private:
  /// The loss at `step` on the line through the last points up to `last_step`.
  std::optional<double> line(std::int64_t last_step, std::int64_t step) const;

  std::int64_t ahead_;
  State state_;
};

}  // namespace leapverify::policy

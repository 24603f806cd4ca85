#include <leapverify/runtime/policy/line.h>
#include <leapverify/runtime/policy/statistics.h>
#include <leapverify/runtime/policy/value.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace leapverify::policy {

void LossCurve::add(std::int64_t step, double loss) {
  if (!std::isfinite(loss)) return;
  const LossPoint point{step, loss};
  if (first_.empty()) first_.push_back(point);
  points_.push_back(point);
  if (points_.size() > kWindow) points_.erase(points_.begin());
}

double LossCurve::fall_per_step() const {
  if (points_.empty()) return 0;
  const LossPoint& first = first_.front();
  const LossPoint& last = points_.back();
  const bool beyond_first = last.step > first.step;
  const double since_start =
      beyond_first ? (first.loss - last.loss) / static_cast<double>(last.step - first.step) : 0;
  if (points_.size() < 2) return beyond_first ? std::max(since_start, kFloor) : 0;
  return std::max({-fit_line(points_).slope, 0.1 * since_start, kFloor});
}

void LossCurve::restore(State state) {
  first_ = std::move(state.first);
  points_ = std::move(state.points);
}

Value value_of_leap(const std::vector<double>& reference, const std::vector<double>& candidate,
                    double fall_per_step, std::int64_t remaining_steps) {
  constexpr double kNormalQuantile95 = 1.6448536269514722;
  const Sample gain = summarize_differences(reference, candidate);
  Value value;
  value.gain = gain.mean;
  value.fall_per_step = fall_per_step;
  if (gain.count < 2 || !std::isfinite(gain.mean) || !std::isfinite(gain.variance)) return value;
  const double standard_error = std::sqrt(gain.variance / static_cast<double>(gain.count));
  value.gain_lower_bound = gain.mean - kNormalQuantile95 * standard_error;
  if (fall_per_step > 0) {
    value.steps_saved = std::clamp(value.gain_lower_bound / fall_per_step, 0.0,
                                   static_cast<double>(std::max<std::int64_t>(remaining_steps, 0)));
  }
  return value;
}

}  // namespace leapverify::policy

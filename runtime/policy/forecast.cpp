#include <leapverify/runtime/policy/forecast.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace leapverify::policy {

std::optional<double> Forecast::line(std::int64_t last_step, std::int64_t step) const {
  std::vector<LossPoint> points;
  for (auto point = state_.points.rbegin(); point != state_.points.rend(); ++point) {
    if (point->step <= last_step && points.size() < kWindow) points.push_back(*point);
  }
  if (points.size() < 2) return std::nullopt;
  return fit_line(points).at(step);
}

void Forecast::add(std::int64_t step, double loss) {
  if (!std::isfinite(loss)) return;
  if (const auto expected = line(step - ahead_, step)) {
    std::vector<double>& errors = state_.errors;
    errors.push_back(*expected - loss);
    if (errors.size() > kMostErrors) errors.erase(errors.begin());
  }
  std::vector<LossPoint>& points = state_.points;
  points.push_back({step, loss});
  // Older ones are needed by no forecast: kWindow of them lie `ahead` steps back.
  const auto old = std::count_if(points.begin(), points.end(), [&](const LossPoint& point) {
    return point.step <= step - ahead_;
  });
  const std::ptrdiff_t surplus = old - static_cast<std::ptrdiff_t>(kWindow);
  if (surplus > 0) points.erase(points.begin(), points.begin() + surplus);
}

std::optional<double> Forecast::at(std::int64_t step) const {
  return line(std::numeric_limits<std::int64_t>::max(), step);
}

std::optional<double> Forecast::limit(std::int64_t step, double alpha) const {
  const std::optional<double> expected = at(step);
  std::vector<double> errors = state_.errors;
  // With n errors known, the next is the k-th largest or larger with a chance of k / (n + 1).
  const auto rank = static_cast<std::size_t>(alpha * static_cast<double>(errors.size() + 1));
  if (!expected || rank < 1) return std::nullopt;
  std::sort(errors.begin(), errors.end(), std::greater<>());
  return *expected - errors[rank - 1];
}

}  // namespace leapverify::policy

// The straight line through points of a loss curve.
#pragma once

#include <cstdint>
#include <vector>

namespace leapverify::policy {

struct LossPoint {
  std::int64_t step = 0;
  /// In nats.
  double loss = 0;
};

/// loss = mean_loss + slope · (step − mean_step).
struct Line {
  double mean_step = 0;
  double mean_loss = 0;
  double slope = 0;

  double at(std::int64_t step) const {
    return mean_loss + slope * (static_cast<double>(step) - mean_step);
  }
};

/// By least squares. Throws ContractError for fewer than two points or steps that are all the same.
Line fit_line(const std::vector<LossPoint>& points);

}  // namespace leapverify::policy

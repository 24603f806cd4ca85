#include <leapverify/runtime/policy/predictor.h>

#include <algorithm>
#include <cmath>

namespace leapverify::policy {
namespace {

/// θ_0 + s·v + c·a in terms of θ_0, θ_1, θ_2.
std::vector<double> quadratic_row(double s, double c) { return {1 + s + c, -s - 2 * c, c}; }

void check(const History& history, std::int64_t needed, std::int64_t horizon) {
  LV_CHECK(horizon >= 0, "horizon " << horizon << " is below 0");
  LV_CHECK(static_cast<std::int64_t>(history.steps.size()) >= needed,
           "predictor needs " << needed << " snapshots, got " << history.steps.size());
  for (std::size_t i = 1; i < history.steps.size(); ++i) {
    LV_CHECK(history.steps[i - 1] > history.steps[i], "snapshot steps must decrease, got "
                                                          << history.steps[i - 1] << " before "
                                                          << history.steps[i]);
  }
}

/// quadratic_code: per tensor, the largest curvature coefficient with ‖c·a‖ ≤ ½‖s·v‖.
Prediction clamped_quadratic(const History& history, double s) {
  const auto snapshots = static_cast<std::int64_t>(history.steps.size());
  LV_CHECK(
      static_cast<std::int64_t>(history.gram.size()) == history.segments * snapshots * snapshots,
      "Gram matrix has " << history.gram.size() << " entries, expected "
                         << history.segments * snapshots * snapshots);
  Prediction prediction;
  prediction.rows = history.segments;
  for (std::int64_t segment = 0; segment < history.segments; ++segment) {
    const double* gram = history.gram.data() + segment * snapshots * snapshots;
    // In differences to θ_0: v = −d_1 and a = d_2 − 2·d_1.
    const double d11 = gram[snapshots + 1];
    const double d12 = gram[snapshots + 2];
    const double d22 = gram[2 * snapshots + 2];
    const double velocity_norm = std::sqrt(std::max(d11, 0.0));
    const double acceleration_norm = std::sqrt(std::max(d22 - 4 * d12 + 4 * d11, 0.0));
    double curvature = s * s / 2;
    const double limit = 0.5 * s * velocity_norm;
    if (curvature * acceleration_norm > limit) curvature = limit / acceleration_norm;
    const std::vector<double> row = quadratic_row(s, curvature);
    prediction.coefficients.insert(prediction.coefficients.end(), row.begin(), row.end());
  }
  return prediction;
}

}  // namespace

std::int64_t Predictor::snapshots_needed() const { return kind_ == PredictorKind::kLinear ? 2 : 3; }

Prediction Predictor::predict(const History& history, std::int64_t horizon) const {
  check(history, snapshots_needed(), horizon);
  const std::int64_t spacing = history.steps[0] - history.steps[1];
  const double s = static_cast<double>(horizon) / static_cast<double>(spacing);
  if (kind_ == PredictorKind::kLinear) return {{1 + s, -s}, 1};

  LV_CHECK(history.steps[1] - history.steps[2] == spacing,
           name_of(kind_) << " needs equally spaced snapshots, got " << spacing << " and "
                          << history.steps[1] - history.steps[2] << " steps");
  switch (kind_) {
    case PredictorKind::kLinear:
    case PredictorKind::kQuadratic:
      return {quadratic_row(s, s * (s + 1) / 2), 1};
    case PredictorKind::kQuadraticPaper:
      return {quadratic_row(s, s * (s - 1) / 2), 1};
    case PredictorKind::kQuadraticCode:
      return clamped_quadratic(history, s);
  }
  return {};
}

}  // namespace leapverify::policy

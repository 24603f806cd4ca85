// Where the weights will be K steps from now, as a weighted sum of where they have been.
// A new predictor: an enumerator and name here, its coefficients in predictor.cpp, a test.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>
#include <vector>

namespace leapverify::policy {

enum class PredictorKind { kLinear, kQuadratic, kQuadraticPaper, kQuadraticCode };

}  // namespace leapverify::policy

namespace leapverify {
template <>
struct EnumNames<policy::PredictorKind> {
  static constexpr Named<policy::PredictorKind> names[] = {
      {policy::PredictorKind::kLinear, "linear"},
      {policy::PredictorKind::kQuadratic, "quadratic"},
      {policy::PredictorKind::kQuadraticPaper, "quadratic_paper"},
      {policy::PredictorKind::kQuadraticCode, "quadratic_code"}};
};
}  // namespace leapverify

namespace leapverify::policy {

/// What is known of the last snapshots, newest first.
struct History {
  /// Steps at which the snapshots were taken, strictly decreasing.
  std::vector<std::int64_t> steps;
  /// [segments × snapshots × snapshots], row-major: inner products of θ_j − θ_0 and θ_k − θ_0 by
  /// tensor. Only filled for predictors that ask for it (needs_gram).
  std::vector<double> gram;
  std::int64_t segments = 1;
};

/// Coefficients of a candidate, newest snapshot first; each row sums to 1.
struct Prediction {
  /// [rows × snapshots]; one row for all tensors, or one a tensor.
  std::vector<double> coefficients;
  std::int64_t rows = 1;
};

/// A predictor as a pure function of the history and the horizon.
///
/// With θ_0 the newest snapshot, spacing Δ, s = K/Δ, v = θ_0 − θ_1, a = θ_0 − 2θ_1 + θ_2:
///   linear           θ_0 + s·v
///   quadratic        θ_0 + s·v + s(s+1)/2·a: the parabola through the three snapshots
///   quadratic_paper  θ_0 + s·v + s(s−1)/2·a: as printed in arXiv 2602.19580
///   quadratic_code   θ_0 + s·v + s²/2·a, the last term clamped in each tensor to half the norm of
///                    s·v: as in the paper's public code
/// `linear` takes the true spacing of its two snapshots; the others need equal spacing.
class Predictor {
 public:
  explicit Predictor(PredictorKind kind) : kind_(kind) {}

  /// Snapshots that predict() uses.
  std::int64_t snapshots_needed() const;

  /// Whether History::gram must be filled.
  bool needs_gram() const { return kind_ == PredictorKind::kQuadraticCode; }

  /// Throws ContractError for a horizon below 0, too few snapshots, snapshots whose steps do not
  /// decrease, or unequal spacing where it must be equal.
  Prediction predict(const History& history, std::int64_t horizon) const;

 private:
  PredictorKind kind_;
};

}  // namespace leapverify::policy

// Where the weights will be K steps from now, as a weighted sum of where they have been.
// A new predictor: an enumerator and name here, its coefficients in predictor.cpp, a test.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace leapverify::policy {

enum class PredictorKind {
  kLinear,
  kQuadratic,
  kQuadraticPaper,
  kQuadraticCode,
  kLeastSquares,
  kAverage,
  kOuterMomentum,
  kEmaTrend,
  kLowRank,
  kMomentum,
  kPortfolio
};

}  // namespace leapverify::policy

namespace leapverify {
template <>
struct EnumNames<policy::PredictorKind> {
  static constexpr Named<policy::PredictorKind> names[] = {
      {policy::PredictorKind::kLinear, "linear"},
      {policy::PredictorKind::kQuadratic, "quadratic"},
      {policy::PredictorKind::kQuadraticPaper, "quadratic_paper"},
      {policy::PredictorKind::kQuadraticCode, "quadratic_code"},
      {policy::PredictorKind::kLeastSquares, "least_squares"},
      {policy::PredictorKind::kAverage, "average"},
      {policy::PredictorKind::kOuterMomentum, "outer_momentum"},
      {policy::PredictorKind::kEmaTrend, "ema_trend"},
      {policy::PredictorKind::kLowRank, "low_rank"},
      {policy::PredictorKind::kMomentum, "momentum"},
      {policy::PredictorKind::kPortfolio, "portfolio"}};
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
  /// Steps along the optimizer's momentum, in place of coefficients.
  std::optional<double> momentum_steps = std::nullopt;
};

struct PredictorOptions {
  PredictorKind kind = PredictorKind::kEmaTrend;
  std::int64_t window = 4;
  double decay = 0.5;
  double min_signal_to_noise = 0;
  bool half_moments = false;
  /// Names of the predictors that a portfolio is made of.
  std::vector<std::string> portfolio = {"ema_trend", "outer_momentum", "low_rank"};

  void describe(FieldVisitor& visitor);
};

/// A predictor as a pure function of the history and the horizon K.
///
/// With θ_0 the newest of n snapshots, t_i their steps, d_i = θ_i − θ_{i+1}:
///   linear           θ_0 + s·v, with s = K/Δ, Δ the spacing, v = d_0
///   quadratic        θ_0 + s·v + s(s+1)/2·a, a = d_0 − d_1: the parabola through three snapshots
///   quadratic_paper  θ_0 + s·v + s(s−1)/2·a: as printed in arXiv 2602.19580
///   quadratic_code   θ_0 + s·v + s²/2·a, the last term clamped in each tensor to half the norm of
///                    s·v: as in the paper's public code
///   least_squares    the straight line fitted to the window, at t_0 + K. With min_signal_to_noise,
///                    tensors whose trend does not stand out stay at θ_0: those with
///                    S·‖slope‖² ÷ (residual ÷ (n − 2)) below it, S = Σ (t_i − t̄)² and the residual
///                    the sum of the squared distances to the line; about 1 where there is no trend
///   average          the mean of the window, whatever the horizon
///   outer_momentum   θ_0 + s·μ·Σ_i μ^i·d_i, μ the decay: Nesterov's look-ahead over the moves
///                    between snapshots
///   ema_trend        θ_0 + K·Σ_i w_i·d_i/Δ_i, w_i ∝ μ^i with sum 1: the smoothed velocity
///   low_rank         θ_0 + K·velocity along the window's principal direction: the centred snapshots
///                    are projected on it, and a straight line is fitted to the projections
///   momentum         K steps of the base optimizer with the moments that it has now
///                    (kernels/adam_direction.h); needs no snapshot but the live weights
/// A portfolio of them is policy/portfolio.h.
/// The quadratic ones and outer_momentum need equal spacing, the others take the true one.
/// least_squares, average, outer_momentum, ema_trend and low_rank use `window` snapshots. linear,
/// least_squares, ema_trend and low_rank are exact on straight lines, quadratic on parabolas.
class Predictor {
 public:
  /// Throws InvalidOption, also for kind portfolio.
  explicit Predictor(const PredictorOptions& options);

  /// Snapshots that predict() uses.
  std::int64_t snapshots_needed() const;

  /// Whether History::gram must be filled.
  bool needs_gram() const {
    return has_row_per_tensor() || options_.kind == PredictorKind::kLowRank;
  }

  /// Throws ContractError for a horizon below 0, too few snapshots, snapshots whose steps do not
  /// decrease, unequal spacing where it must be equal, or a Gram matrix of another size.
  Prediction predict(const History& history, std::int64_t horizon) const;

  PredictorKind kind() const { return options_.kind; }

  /// Whether the snapshots must be equally far apart.
  bool needs_equal_spacing() const;

  /// Whether predictions have a row of coefficients for each tensor.
  bool has_row_per_tensor() const {
    return options_.kind == PredictorKind::kQuadraticCode || is_gated();
  }

 private:
  bool is_gated() const {
    return options_.kind == PredictorKind::kLeastSquares && options_.min_signal_to_noise > 0;
  }

  PredictorOptions options_;
};

}  // namespace leapverify::policy

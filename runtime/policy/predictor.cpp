#include <leapverify/runtime/policy/predictor.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

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

std::int64_t spacing_of(const History& history, std::int64_t snapshots, PredictorKind kind) {
  const std::int64_t spacing = history.steps[0] - history.steps[1];
  for (std::size_t i = 1; i + 1 < static_cast<std::size_t>(snapshots); ++i) {
    LV_CHECK(history.steps[i] - history.steps[i + 1] == spacing,
             name_of(kind) << " needs equally spaced snapshots, got " << spacing << " and "
                           << history.steps[i] - history.steps[i + 1] << " steps");
  }
  return spacing;
}

void check_gram(const History& history) {
  const auto snapshots = static_cast<std::int64_t>(history.steps.size());
  LV_CHECK(
      static_cast<std::int64_t>(history.gram.size()) == history.segments * snapshots * snapshots,
      "Gram matrix has " << history.gram.size() << " entries, expected "
                         << history.segments * snapshots * snapshots);
}

/// quadratic_code: per tensor, the largest curvature coefficient with ‖c·a‖ ≤ ½‖s·v‖.
Prediction clamped_quadratic(const History& history, double s) {
  check_gram(history);
  const auto snapshots = static_cast<std::int64_t>(history.steps.size());
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

/// Steps of the `count` newest snapshots less their mean.
std::vector<double> centred_steps(const History& history, std::size_t count) {
  double mean = 0;
  for (std::size_t i = 0; i < count; ++i) {
    mean += static_cast<double>(history.steps[i]) / static_cast<double>(count);
  }
  std::vector<double> steps(count);
  for (std::size_t i = 0; i < count; ++i) steps[i] = static_cast<double>(history.steps[i]) - mean;
  return steps;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

std::vector<double> least_squares_row(const History& history, std::size_t count, double horizon) {
  const std::vector<double> steps = centred_steps(history, count);
  const double reach = (steps[0] + horizon) / dot(steps, steps);
  std::vector<double> row(count);
  for (std::size_t i = 0; i < count; ++i) {
    row[i] = 1 / static_cast<double>(count) + reach * steps[i];
  }
  return row;
}

/// least_squares with the tensors left where they are whose trend does not stand out.
Prediction gated_least_squares(const History& history, std::size_t count, double horizon,
                               double min_signal_to_noise) {
  check_gram(history);
  const std::vector<double> steps = centred_steps(history, count);
  const double spread = dot(steps, steps);
  const std::vector<double> moving = least_squares_row(history, count, horizon);
  std::vector<double> staying(count, 0.0);
  staying[0] = 1;
  const std::size_t snapshots = history.steps.size();
  Prediction prediction;
  prediction.rows = history.segments;
  for (std::int64_t segment = 0; segment < history.segments; ++segment) {
    const double* gram =
        history.gram.data() + static_cast<std::size_t>(segment) * snapshots * snapshots;
    double squares = 0;
    double sum = 0;
    double along = 0;
    for (std::size_t j = 0; j < count; ++j) {
      squares += gram[j * snapshots + j];
      for (std::size_t k = 0; k < count; ++k) {
        sum += gram[j * snapshots + k];
        along += steps[j] * steps[k] * gram[j * snapshots + k];
      }
    }
    const double signal = along / spread;
    const double residual = squares - sum / static_cast<double>(count) - signal;
    const double noise = std::max(residual, 0.0) / static_cast<double>(count - 2);
    const std::vector<double>& row = signal >= min_signal_to_noise * noise ? moving : staying;
    prediction.coefficients.insert(prediction.coefficients.end(), row.begin(), row.end());
  }
  return prediction;
}

/// θ_0 + Σ_i factors[i] · (θ_i − θ_{i+1}).
std::vector<double> row_of_moves(const std::vector<double>& factors) {
  std::vector<double> row(factors.size() + 1, 0.0);
  row[0] = 1;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    row[i] += factors[i];
    row[i + 1] -= factors[i];
  }
  return row;
}

std::vector<double> outer_momentum_row(std::size_t count, double s, double decay) {
  std::vector<double> factors(count - 1);
  for (std::size_t i = 0; i < factors.size(); ++i) {
    factors[i] = s * std::pow(decay, static_cast<double>(i + 1));
  }
  return row_of_moves(factors);
}

std::vector<double> ema_trend_row(const History& history, std::size_t count, double horizon,
                                  double decay) {
  std::vector<double> factors(count - 1);
  double sum = 0;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const double weight = std::pow(decay, static_cast<double>(i));
    sum += weight;
    factors[i] = horizon * weight / static_cast<double>(history.steps[i] - history.steps[i + 1]);
  }
  for (double& factor : factors) factor /= sum;
  return row_of_moves(factors);
}

/// Inner products of the centred snapshots, over all tensors: [count × count].
std::vector<double> centred_gram(const History& history, std::size_t count) {
  const std::size_t snapshots = history.steps.size();
  std::vector<double> gram(count * count, 0.0);
  for (std::size_t s = 0; s < static_cast<std::size_t>(history.segments); ++s) {
    for (std::size_t j = 0; j < count; ++j) {
      for (std::size_t k = 0; k < count; ++k) {
        gram[j * count + k] += history.gram[(s * snapshots + j) * snapshots + k];
      }
    }
  }
  std::vector<double> means(count, 0.0);
  double mean = 0;
  for (std::size_t j = 0; j < count; ++j) {
    for (std::size_t k = 0; k < count; ++k) {
      means[j] += gram[j * count + k] / static_cast<double>(count);
    }
    mean += means[j] / static_cast<double>(count);
  }
  for (std::size_t j = 0; j < count; ++j) {
    for (std::size_t k = 0; k < count; ++k) gram[j * count + k] += mean - means[j] - means[k];
  }
  return gram;
}

/// The eigenvector of the largest eigenvalue of a symmetric positive matrix, by powers; all zeros
/// where the matrix is zero or holds NaN.
std::vector<double> principal_vector(const std::vector<double>& matrix,
                                     std::vector<double> vector) {
  constexpr int kRounds = 200;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> next(vector.size(), 0.0);
    for (std::size_t j = 0; j < vector.size(); ++j) {
      for (std::size_t k = 0; k < vector.size(); ++k) {
        next[j] += matrix[j * vector.size() + k] * vector[k];
      }
    }
    const double norm = std::sqrt(dot(next, next));
    if (!(norm > 0)) return std::vector<double>(vector.size(), 0.0);
    for (double& x : next) x /= norm;
    vector = std::move(next);
  }
  return vector;
}

std::vector<double> low_rank_row(const History& history, std::size_t count, double horizon) {
  check_gram(history);
  const std::vector<double> steps = centred_steps(history, count);
  // Steps as the start: on a straight line they are the answer already.
  const std::vector<double> u = principal_vector(centred_gram(history, count), steps);
  const double velocity = dot(steps, u) / dot(steps, steps);
  std::vector<double> row(count);
  for (std::size_t i = 0; i < count; ++i) row[i] = horizon * velocity * u[i];
  row[0] += 1;
  return row;
}

}  // namespace

void PredictorOptions::describe(FieldVisitor& visitor) {
  visitor.choice("predictor", kind, "formula that extrapolates the weights");
  visitor.field(
      "window", window, between(2, 31),
      "snapshots that least_squares, average, outer_momentum, ema_trend and low_rank use");
  visitor.field(
      "decay", decay, between(0, 1),
      "outer_momentum, ema_trend: weight of a move relative to the next newer one; outer_momentum: "
      "of the newest move too");
  visitor.field("min_signal_to_noise", min_signal_to_noise, at_least(0),
                "least_squares: tensors whose trend stands out less stay where they are; 0: none");
  visitor.field("portfolio", portfolio, "portfolio: names of its predictors");
  visitor.field("half_moments", half_moments,
                "momentum: moments in float16, which reproduces the published catastrophe");
}

Predictor::Predictor(const PredictorOptions& options) : options_(options) {
  validate_fields(options_);
  if (options_.kind == PredictorKind::kPortfolio) {
    throw InvalidOption("portfolio", name_of(options_.kind), "predictors other than portfolio");
  }
  if (is_gated() && options_.window < 3) {
    throw InvalidOption("window", std::to_string(options_.window),
                        "at least 3 with min_signal_to_noise: two snapshots lie on every line");
  }
  if (options_.kind == PredictorKind::kOuterMomentum && !(options_.decay > 0)) {
    throw InvalidOption("decay", number_text(options_.decay),
                        "above 0 with outer_momentum, which otherwise predicts the weights of now");
  }
}

bool Predictor::needs_equal_spacing() const {
  return options_.kind == PredictorKind::kQuadratic ||
         options_.kind == PredictorKind::kQuadraticPaper ||
         options_.kind == PredictorKind::kQuadraticCode ||
         options_.kind == PredictorKind::kOuterMomentum;
}

std::int64_t Predictor::snapshots_needed() const {
  switch (options_.kind) {
    case PredictorKind::kLinear:
      return 2;
    case PredictorKind::kQuadratic:
    case PredictorKind::kQuadraticPaper:
    case PredictorKind::kQuadraticCode:
      return 3;
    case PredictorKind::kLeastSquares:
    case PredictorKind::kAverage:
    case PredictorKind::kOuterMomentum:
    case PredictorKind::kEmaTrend:
    case PredictorKind::kLowRank:
      return options_.window;
    case PredictorKind::kMomentum:
      return 1;
    case PredictorKind::kPortfolio:
      break;
  }
  return 0;
}

Prediction Predictor::predict(const History& history, std::int64_t horizon) const {
  const std::int64_t snapshots = snapshots_needed();
  const auto count = static_cast<std::size_t>(snapshots);
  check(history, snapshots, horizon);
  const auto ahead = static_cast<double>(horizon);
  const auto spacings = [&] {
    return ahead / static_cast<double>(spacing_of(history, snapshots, options_.kind));
  };
  switch (options_.kind) {
    case PredictorKind::kLinear:
      return {{1 + spacings(), -spacings()}, 1};
    case PredictorKind::kQuadratic:
      return {quadratic_row(spacings(), spacings() * (spacings() + 1) / 2), 1};
    case PredictorKind::kQuadraticPaper:
      return {quadratic_row(spacings(), spacings() * (spacings() - 1) / 2), 1};
    case PredictorKind::kQuadraticCode:
      return clamped_quadratic(history, spacings());
    case PredictorKind::kLeastSquares:
      return is_gated() ? gated_least_squares(history, count, ahead, options_.min_signal_to_noise)
                        : Prediction{least_squares_row(history, count, ahead), 1};
    case PredictorKind::kAverage:
      return {std::vector<double>(count, 1 / static_cast<double>(snapshots)), 1};
    case PredictorKind::kOuterMomentum:
      return {outer_momentum_row(count, spacings(), options_.decay), 1};
    case PredictorKind::kEmaTrend:
      return {ema_trend_row(history, count, ahead, options_.decay), 1};
    case PredictorKind::kLowRank:
      return {low_rank_row(history, count, ahead), 1};
    case PredictorKind::kMomentum:
      return {{}, 1, ahead};
    case PredictorKind::kPortfolio:
      break;
  }
  return {};
}

}  // namespace leapverify::policy

// Predictors: exact on polynomials of their degree, published variants as published, rows sum to 1.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/predictor.h>

#include <cmath>
#include <random>

namespace leapverify::policy {
namespace {

using testing::HasSubstr;

constexpr PredictorKind kAll[] = {PredictorKind::kLinear, PredictorKind::kQuadratic,
                                  PredictorKind::kQuadraticPaper, PredictorKind::kQuadraticCode};

/// Snapshots of scalar "weights" at 100, 100 − Δ, 100 − 2Δ, newest first, with their Gram matrix.
struct ScalarHistory {
  std::vector<double> values;
  History history;
};

template <class Curve>
ScalarHistory scalar_history(Curve curve, std::int64_t spacing, std::int64_t count) {
  ScalarHistory result;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t step = 100 - i * spacing;
    result.history.steps.push_back(step);
    result.values.push_back(curve(static_cast<double>(step)));
  }
  for (std::int64_t j = 0; j < count; ++j) {
    for (std::int64_t k = 0; k < count; ++k) {
      const auto difference = [&](std::int64_t i) {
        return result.values[static_cast<std::size_t>(i)] - result.values[0];
      };
      result.history.gram.push_back(difference(j) * difference(k));
    }
  }
  return result;
}

double weighted_sum(const Prediction& prediction, const std::vector<double>& values) {
  double sum = 0;
  for (std::size_t i = 0; i < values.size() && i < prediction.coefficients.size(); ++i) {
    sum += prediction.coefficients[i] * values[i];
  }
  return sum;
}

TEST(Predictor, CoefficientsSumToOne) {
  for (const PredictorKind kind : kAll) {
    const auto scalar = scalar_history([](double t) { return std::sin(t / 40); }, 20, 3);
    for (const std::int64_t horizon : {0, 1, 5, 50, 1000}) {
      const Prediction prediction = Predictor({kind}).predict(scalar.history, horizon);
      double sum = 0;
      for (const double c : prediction.coefficients) sum += c;
      EXPECT_NEAR(sum, 1, 1e-9) << name_of(kind) << " at horizon " << horizon;
    }
  }
}

TEST(Predictor, HorizonZeroIsTheNewestSnapshot) {
  for (const PredictorKind kind : kAll) {
    const auto scalar = scalar_history([](double t) { return t * t; }, 10, 3);
    const Prediction prediction = Predictor({kind}).predict(scalar.history, 0);
    EXPECT_EQ(prediction.coefficients[0], 1) << name_of(kind);
    for (std::size_t i = 1; i < prediction.coefficients.size(); ++i) {
      EXPECT_EQ(prediction.coefficients[i], 0) << name_of(kind);
    }
  }
}

TEST(Predictor, LinearIsExactOnLines) {
  const auto line = [](double t) { return 3 - 0.25 * t; };
  for (const std::int64_t spacing : {1, 7, 50}) {
    const auto scalar = scalar_history(line, spacing, 2);
    for (const std::int64_t horizon : {1, 5, 33, 100}) {
      const Prediction prediction =
          Predictor({PredictorKind::kLinear}).predict(scalar.history, horizon);
      EXPECT_NEAR(weighted_sum(prediction, scalar.values),
                  line(100.0 + static_cast<double>(horizon)), 1e-9);
    }
  }
}

TEST(Predictor, QuadraticIsExactOnParabolasAndThePublishedOnesAreNot) {
  const auto parabola = [](double t) { return 0.5 * t * t - 3 * t + 2; };
  for (const std::int64_t spacing : {1, 7, 50}) {
    const auto scalar = scalar_history(parabola, spacing, 3);
    for (const std::int64_t horizon : {5, 33, 100}) {
      const double truth = parabola(100.0 + static_cast<double>(horizon));
      const auto at = [&](PredictorKind kind) {
        return weighted_sum(Predictor({kind}).predict(scalar.history, horizon), scalar.values);
      };
      EXPECT_NEAR(at(PredictorKind::kQuadratic), truth, 1e-8 * std::abs(truth));
      // They differ from the parabola by s·a and s·a/2 where the clamp is not met.
      const double s = static_cast<double>(horizon) / static_cast<double>(spacing);
      const double a = scalar.values[0] - 2 * scalar.values[1] + scalar.values[2];
      EXPECT_NEAR(at(PredictorKind::kQuadraticPaper), truth - s * a, 1e-8 * std::abs(truth));
    }
  }
}

TEST(Predictor, PublishedVariantsGiveThePublishedCoefficients) {
  // K = 25 at Δ = 50: s = 1/2, so the curvature's factor is −1/8 as printed, 1/8 in the code and
  // 3/8 for the parabola. A zero Gram matrix keeps the clamp out of play.
  History history{{100, 50, 0}, std::vector<double>(9, 0.0), 1};
  const auto coefficients = [&](PredictorKind kind) {
    return Predictor({kind}).predict(history, 25).coefficients;
  };
  using testing::ElementsAre;
  EXPECT_THAT(coefficients(PredictorKind::kLinear), ElementsAre(1.5, -0.5));
  EXPECT_THAT(coefficients(PredictorKind::kQuadraticPaper), ElementsAre(1.375, -0.25, -0.125));
  EXPECT_THAT(coefficients(PredictorKind::kQuadraticCode), ElementsAre(1.625, -0.75, 0.125));
  EXPECT_THAT(coefficients(PredictorKind::kQuadratic), ElementsAre(1.875, -1.25, 0.375));
}

TEST(Predictor, ClampHoldsInEachTensorByItself) {
  // Two tensors of one element: gentle (v = 1, a = 0.1) and violent (v = 1, a = 10).
  History history{{100, 50, 0}, {}, 2};
  for (const double a : {0.1, 10.0}) {
    // θ0 = 0, so θ1 = −v = −1 and θ2 = a + 2θ1 = a − 2.
    const double d[3] = {0, -1, a - 2};
    for (const double x : d) {
      for (const double y : d) history.gram.push_back(x * y);
    }
  }
  const Prediction prediction = Predictor({PredictorKind::kQuadraticCode}).predict(history, 100);
  ASSERT_EQ(prediction.rows, 2);
  const double s = 2;
  // Curvature term: s²/2 · a = 0.2 stays; 20 is cut to half of s·v = 1, which is 0.1 · a.
  EXPECT_NEAR(prediction.coefficients[2], s * s / 2, 1e-12);
  EXPECT_NEAR(prediction.coefficients[5], 0.5 * s / 10, 1e-12);
}

TEST(Predictor, LinearTakesTheTrueSpacing) {
  const History history{{110, 100}, {}, 1};
  EXPECT_THAT(Predictor({PredictorKind::kLinear}).predict(history, 5).coefficients,
              testing::ElementsAre(1.5, -0.5));
}

constexpr PredictorKind kWindowed[] = {PredictorKind::kLeastSquares, PredictorKind::kAverage,
                                       PredictorKind::kOuterMomentum, PredictorKind::kEmaTrend,
                                       PredictorKind::kLowRank};

TEST(WindowedPredictor, CoefficientsSumToOneAndUseTheWindow) {
  for (const PredictorKind kind : kWindowed) {
    for (const std::int64_t window : {2, 3, 7}) {
      const auto scalar = scalar_history([](double t) { return std::sin(t / 30); }, 10, 7);
      const Predictor predictor({kind, window, 0.8});
      EXPECT_EQ(predictor.snapshots_needed(), window);
      for (const std::int64_t horizon : {0, 1, 50}) {
        const Prediction prediction = predictor.predict(scalar.history, horizon);
        ASSERT_EQ(static_cast<std::int64_t>(prediction.coefficients.size()), window);
        double sum = 0;
        for (const double c : prediction.coefficients) sum += c;
        EXPECT_NEAR(sum, 1, 1e-12) << name_of(kind) << " at horizon " << horizon;
      }
    }
  }
}

TEST(WindowedPredictor, TrendsAreExactOnLinesWithUnequalSpacing) {
  const auto line = [](double t) { return 3 - 0.25 * t; };
  ScalarHistory scalar;
  scalar.history.steps = {100, 90, 75, 74, 40};
  for (const std::int64_t step : scalar.history.steps) {
    scalar.values.push_back(line(static_cast<double>(step)));
  }
  for (const double a : scalar.values) {
    for (const double b : scalar.values) {
      scalar.history.gram.push_back((a - scalar.values[0]) * (b - scalar.values[0]));
    }
  }
  for (const PredictorKind kind :
       {PredictorKind::kLeastSquares, PredictorKind::kEmaTrend, PredictorKind::kLowRank}) {
    const Prediction prediction = Predictor({kind, 5, 0.7}).predict(scalar.history, 30);
    EXPECT_NEAR(weighted_sum(prediction, scalar.values), line(130), 1e-9) << name_of(kind);
  }
}

TEST(WindowedPredictor, HorizonZeroIsTheNewestSnapshotButForTheFittedOnes) {
  const auto scalar = scalar_history([](double t) { return t * t; }, 10, 5);
  for (const PredictorKind kind :
       {PredictorKind::kOuterMomentum, PredictorKind::kEmaTrend, PredictorKind::kLowRank}) {
    const Prediction prediction = Predictor({kind}).predict(scalar.history, 0);
    EXPECT_NEAR(weighted_sum(prediction, scalar.values), scalar.values[0], 1e-9) << name_of(kind);
  }
  const Prediction fitted = Predictor({PredictorKind::kLeastSquares, 5}).predict(scalar.history, 0);
  EXPECT_GT(std::abs(weighted_sum(fitted, scalar.values) - scalar.values[0]), 100);
}

TEST(WindowedPredictor, LeastSquaresGivesTheFittedLine) {
  // Through (0, 1), (1, 3), (2, 2): slope 1/2 and mean 2 at 1.
  const History history{{2, 1, 0}, {}, 1};
  const Prediction prediction = Predictor({PredictorKind::kLeastSquares, 3}).predict(history, 4);
  EXPECT_NEAR(weighted_sum(prediction, {2, 3, 1}), 2 + 0.5 * 5, 1e-12);
}

TEST(WindowedPredictor, AverageIsTheMeanWhateverTheHorizon) {
  const History history{{30, 20, 10, 0}, {}, 1};
  for (const std::int64_t horizon : {0, 100}) {
    EXPECT_THAT(Predictor({PredictorKind::kAverage, 4}).predict(history, horizon).coefficients,
                testing::Each(0.25));
  }
}

TEST(WindowedPredictor, OuterMomentumRefusesADecayThatPredictsTheWeightsOfNow) {
  try {
    Predictor({PredictorKind::kOuterMomentum, 3, 0.0});
    FAIL() << "accepted decay 0";
  } catch (const InvalidOption& error) {
    EXPECT_THAT(error.what(), HasSubstr("decay: 0 is not legal, expected above 0"));
  }
  Predictor({PredictorKind::kEmaTrend, 3, 0.0});
}

TEST(WindowedPredictor, OuterMomentumLooksAheadAlongTheMoves) {
  // Moves 1 and 10, newest first: 111 + s·μ·(1 + μ·10).
  const History history{{30, 20, 10}, {}, 1};
  const Prediction prediction =
      Predictor({PredictorKind::kOuterMomentum, 3, 0.5}).predict(history, 20);
  EXPECT_NEAR(weighted_sum(prediction, {111, 110, 100}), 111 + 2 * 0.5 * (1 + 0.5 * 10), 1e-12);
}

TEST(WindowedPredictor, EmaTrendWeighsRecentMovesMore) {
  const History history{{30, 20, 10}, {}, 1};
  const Prediction prediction = Predictor({PredictorKind::kEmaTrend, 3, 0.5}).predict(history, 10);
  EXPECT_NEAR(weighted_sum(prediction, {111, 110, 100}), 111 + (1 + 0.5 * 10) / 1.5, 1e-12);
}

TEST(WindowedPredictor, LowRankFollowsThePrincipalDirectionOnly) {
  // Two tensors: one walks a line, the other jitters with a tenth of its size.
  const std::vector<double> walk = {4, 3, 2, 1, 0};
  const std::vector<double> jitter = {0.1, -0.1, 0.1, -0.1, 0.1};
  History history{{40, 30, 20, 10, 0}, {}, 2};
  for (const auto* tensor : {&walk, &jitter}) {
    for (const double a : *tensor) {
      for (const double b : *tensor) {
        history.gram.push_back((a - tensor->front()) * (b - tensor->front()));
      }
    }
  }
  const Prediction prediction = Predictor({PredictorKind::kLowRank, 5}).predict(history, 10);
  EXPECT_NEAR(weighted_sum(prediction, walk), 5, 0.01);
  EXPECT_NEAR(weighted_sum(prediction, jitter), 0.1, 0.01);
  const Prediction linear = Predictor({PredictorKind::kLinear}).predict(history, 10);
  EXPECT_NEAR(weighted_sum(linear, jitter), 0.3, 1e-9) << "which follows the jitter";
}

TEST(WindowedPredictor, LowRankStaysWhereNothingMoves) {
  const History history{{20, 10, 0}, std::vector<double>(9, 0.0), 1};
  EXPECT_THAT(Predictor({PredictorKind::kLowRank, 3}).predict(history, 10).coefficients,
              testing::ElementsAre(1, 0, 0));
}

TEST(Predictor, MomentumAsksForStepsAndOneSnapshot) {
  const Predictor predictor({PredictorKind::kMomentum});
  EXPECT_EQ(predictor.snapshots_needed(), 1);
  const Prediction prediction = predictor.predict({{10}, {}, 1}, 25);
  EXPECT_EQ(prediction.momentum_steps, 25);
  EXPECT_THAT(prediction.coefficients, testing::IsEmpty());
}

TEST(WindowedPredictor, RefusesAWindowOrDecayOutOfRange) {
  for (const PredictorOptions& options :
       {PredictorOptions{PredictorKind::kAverage, 1}, PredictorOptions{PredictorKind::kAverage, 33},
        PredictorOptions{PredictorKind::kEmaTrend, 5, 1.5}}) {
    EXPECT_THROW(Predictor{options}, InvalidOption);
  }
}

void expect_refusal(PredictorKind kind, const History& history, std::int64_t horizon,
                    const char* words) {
  try {
    Predictor({kind}).predict(history, horizon);
    FAIL() << "accepted: " << words;
  } catch (const ContractError& error) {
    EXPECT_THAT(error.what(), HasSubstr(words));
  }
}

TEST(Predictor, RefusesWhatItCannotPredictFrom) {
  expect_refusal(PredictorKind::kLinear, {{10}, {}, 1}, 5, "needs 2 snapshots, got 1");
  expect_refusal(PredictorKind::kQuadratic, {{10, 5}, {}, 1}, 5, "needs 3 snapshots, got 2");
  expect_refusal(PredictorKind::kLinear, {{10, 5}, {}, 1}, -1, "horizon -1");
  expect_refusal(PredictorKind::kLinear, {{5, 10}, {}, 1}, 5, "must decrease, got 5 before 10");
  expect_refusal(PredictorKind::kQuadratic, {{10, 5, 1}, {}, 1}, 5, "got 5 and 4 steps");
  expect_refusal(PredictorKind::kQuadraticCode, {{10, 5, 0}, {}, 1}, 5,
                 "Gram matrix has 0 entries, expected 9");
  expect_refusal(PredictorKind::kAverage, {{10, 5, 1}, {}, 1}, 5, "needs 4 snapshots, got 3");
  expect_refusal(PredictorKind::kOuterMomentum, {{50, 40, 30, 21}, {}, 1}, 5, "got 10 and 9 steps");
  expect_refusal(PredictorKind::kLowRank, {{50, 40, 30, 20}, {}, 1}, 5,
                 "Gram matrix has 0 entries, expected 16");
}

/// Two tensors of scalars: the first on a line with a little noise, the second noise alone.
History line_and_noise() {
  const double values[2][4] = {{4.01, 2.99, 2.02, 1.0}, {0.5, -0.6, 0.4, -0.5}};
  History history{{40, 30, 20, 10}, {}, 2};
  for (const auto& tensor : values) {
    for (int j = 0; j < 4; ++j) {
      for (int k = 0; k < 4; ++k) {
        history.gram.push_back((tensor[j] - tensor[0]) * (tensor[k] - tensor[0]));
      }
    }
  }
  return history;
}

TEST(SignalToNoise, TensorsWhoseTrendDoesNotStandOutStay) {
  PredictorOptions options;
  options.kind = PredictorKind::kLeastSquares;
  const std::vector<double> line = Predictor(options).predict(line_and_noise(), 10).coefficients;
  options.min_signal_to_noise = 4;
  const Predictor gated(options);
  EXPECT_TRUE(gated.needs_gram());
  const Prediction prediction = gated.predict(line_and_noise(), 10);
  ASSERT_EQ(prediction.rows, 2);
  ASSERT_EQ(prediction.coefficients.size(), 8u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(prediction.coefficients[i], line[i]);
    EXPECT_EQ(prediction.coefficients[4 + i], i == 0 ? 1 : 0);
  }
}

TEST(SignalToNoise, IsTheRatioThatIsStated) {
  // Slope 0.3 a step of 10, spread of the steps 500: 500 · 0.03² ÷ (residual ÷ 2).
  const double values[] = {1.0, 0.4, 0.6, 0.0};
  History history{{40, 30, 20, 10}, {}, 1};
  for (const double a : values) {
    for (const double b : values) history.gram.push_back((a - values[0]) * (b - values[0]));
  }
  const double slope = (15 * 1.0 + 5 * 0.4 - 5 * 0.6 - 15 * 0.0) / 500;
  double residual = 0;
  for (int i = 0; i < 4; ++i) residual += std::pow(values[i] - 0.5 - slope * (15 - 10 * i), 2);
  const double ratio = 500 * slope * slope / (residual / 2);
  PredictorOptions options;
  options.kind = PredictorKind::kLeastSquares;
  for (const bool passes : {true, false}) {
    options.min_signal_to_noise = ratio * (passes ? 0.999 : 1.001);
    const Prediction prediction = Predictor(options).predict(history, 10);
    EXPECT_EQ(prediction.coefficients[1] != 0, passes) << "ratio " << ratio;
  }
}

TEST(SignalToNoise, NeedsThreeSnapshots) {
  PredictorOptions options;
  options.kind = PredictorKind::kLeastSquares;
  options.min_signal_to_noise = 1;
  options.window = 2;
  EXPECT_THROW(Predictor{options}, InvalidOption);
}

}  // namespace
}  // namespace leapverify::policy

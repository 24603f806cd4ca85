// The wrapper's options: the published preset, and what is refused beside the length of the run.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/options.h>

#include <cmath>

namespace leapverify {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

void expect_refusal(const Options& options, const char* words) {
  try {
    options.validate();
    FAIL() << "accepted: " << words;
  } catch (const InvalidOption& error) {
    EXPECT_THAT(error.what(), HasSubstr(words));
  }
}

TEST(Options, DefaultsAreLegal) { EXPECT_NO_THROW(Options().validate()); }

TEST(Options, PaperPresetHasThePublishedConstants) {
  const Options paper = Options::paper();
  EXPECT_NO_THROW(paper.validate());
  EXPECT_EQ(paper.observe_every, 50);
  EXPECT_EQ(paper.probes, 100);
  EXPECT_EQ(paper.detector.signal, SignalKind::kActivationCosine);
  EXPECT_FALSE(paper.detector.per_rate);
  EXPECT_EQ(paper.detector.thresholds, ThresholdKind::kFixed);
  EXPECT_EQ(paper.detector.stable_at_least, 0.999489);
  EXPECT_EQ(paper.detector.chaotic_at_most, 0.996270);
  EXPECT_EQ(paper.detector.hysteresis, 2);
  EXPECT_THAT(paper.controller.horizons, ElementsAre(5, 10, 25, 50, 75, 100));
  EXPECT_TRUE(std::isinf(paper.controller.max_overhead));
  EXPECT_EQ(paper.verification.rule, policy::Rule::kStrict);
  EXPECT_EQ(paper.verification.sequences, 32);
  EXPECT_EQ(paper.verification.proximity_tolerance, 0.05);
  EXPECT_EQ(paper.gate, GateSource::kFixed);
  EXPECT_EQ(paper.moments, MomentPolicy::kScale);
  EXPECT_EQ(paper.moment_scale, 0);
}

TEST(Options, DefaultsMoveOnlyTheRateAndBoundLeaps) {
  Options defaults;
  EXPECT_TRUE(defaults.adapts_rate());
  EXPECT_FALSE(defaults.leaps());
  EXPECT_FALSE(defaults.has_trust_region()) << "nothing leaps";
  defaults.on_accept = OnAccept::kBoth;
  EXPECT_TRUE(defaults.has_trust_region());
  EXPECT_FALSE(Options::paper().adapts_rate());
  EXPECT_TRUE(Options::paper().leaps());
  EXPECT_FALSE(Options::paper().has_trust_region());
}

TEST(Options, SearchDoublesFromHalfAWindowWithinTheRun) {
  Options options;
  options.controller.horizons = {7, 3};
  EXPECT_EQ(options.resolved_controller().horizons, options.controller.horizons);
  options.controller.horizons = {};
  options.on_accept = OnAccept::kLeap;
  options.observe_every = 10;
  EXPECT_THAT(options.resolved_controller().horizons,
              ElementsAre(5, 10, 20, 40, 80, 160, 320, 640));
  options.planned_steps = 40;
  EXPECT_THAT(options.resolved_controller().horizons, ElementsAre(5, 10, 20));
  options.on_accept = OnAccept::kRate;
  EXPECT_THAT(options.resolved_controller().horizons, ElementsAre(5, 20));
  EXPECT_EQ(options.far_horizon(), 20);
  options.planned_steps = 20;
  EXPECT_THAT(options.resolved_controller().horizons, ElementsAre(5));
  options.planned_steps = 40;
  options.on_accept = OnAccept::kBoth;
  options.observe_every = 1;
  EXPECT_THAT(options.resolved_controller().horizons, ElementsAre(1, 2, 4, 8, 16, 32));
}

TEST(Options, RefusesWhatContradictsItself) {
  Options options;
  options.probes = 0;
  options.controller.least_regime = Regime::kTransition;
  EXPECT_NO_THROW(options.validate()) << "snapshots alone tell the regime";
  options.detector.signal = SignalKind::kActivationCosine;
  expect_refusal(options, "probes: 0 is not legal, expected at least 1 where leaps wait");
  options.controller.least_regime = Regime::kChaotic;
  EXPECT_NO_THROW(options.validate());
  options.reference = Reference::kDenoised;
  options.predictor.kind = policy::PredictorKind::kMomentum;
  expect_refusal(options, "predictor: momentum is not legal");
}

TEST(Options, RefusesCascadesThatCannotGoOn) {
  Options options = Options::paper();
  options.controller.cascade = 4;
  EXPECT_NO_THROW(options.validate());
  options.predictor.kind = policy::PredictorKind::kQuadratic;
  expect_refusal(options,
                 "cascade: 4 is not legal, expected 1 with the predictor quadratic, which needs "
                 "equally spaced snapshots");
  options.predictor.kind = policy::PredictorKind::kPortfolio;
  expect_refusal(options,
                 "1 with the predictor outer_momentum of portfolio: [ema_trend, outer_momentum, "
                 "low_rank], which needs equally");
  options.predictor.kind = policy::PredictorKind::kLeastSquares;
  expect_refusal(options, "history begins anew at each link");
  options.reference = Reference::kDenoised;
  EXPECT_NO_THROW(options.validate());
  options.on_accept = OnAccept::kRate;
  expect_refusal(options, "cascade: 4 is not legal, expected 1 with on_accept: rate");
}

TEST(Options, RefusesComparisonsWithoutWhatTheyNeed) {
  Options options;
  options.verification.when = policy::When::kSettled;
  expect_refusal(options, "probes: 0 is not legal, expected at least 1 with when: settled");
  options.verification.when = policy::When::kRaced;
  EXPECT_NO_THROW(options.validate());
  options.data = DataPolicy::kSkip;
  expect_refusal(options, "data: skip is not legal, expected keep with on_accept: rate");
  options.data = DataPolicy::kKeep;
  options.schedule = SchedulePolicy::kAdvance;
  expect_refusal(options, "schedule: advance is not legal, expected keep with on_accept: rate");
  options.schedule = SchedulePolicy::kKeep;
  options.gate = GateSource::kNextBatch;
  expect_refusal(options,
                 "gate: next_batch is not legal, expected fresh or fixed with when: raced");
}

TEST(Options, RefusesValuesThatNothingReads) {
  Options options;
  options.predictor.min_signal_to_noise = 4;
  expect_refusal(options, "min_signal_to_noise: 4 is not legal, expected 0, or the predictor");
  options.predictor.kind = policy::PredictorKind::kLeastSquares;
  EXPECT_NO_THROW(options.validate());
  options.predictor.portfolio = {"linear", "least_squares"};
  expect_refusal(options,
                 "portfolio: [linear, least_squares] is not legal, expected [ema_trend, "
                 "outer_momentum, low_rank], or predictor: portfolio");
  options.predictor.kind = policy::PredictorKind::kPortfolio;
  EXPECT_NO_THROW(options.validate());
  options.verification.settle_steps = 5;
  expect_refusal(options, "settle_steps: 5 is not legal, expected 20, or when: settled or raced");
  options.verification.when = policy::When::kRaced;
  EXPECT_NO_THROW(options.validate());
}

TEST(Options, RefusesToTrainOnBeyondTheRun) {
  Options options;
  options.planned_steps = 100;
  options.verification.when = policy::When::kRaced;
  options.verification.settle_steps = 100;
  expect_refusal(options,
                 "settle_steps: 100 is not legal, expected fewer steps than the run of 100");
  options.verification.settle_steps = 99;
  EXPECT_NO_THROW(options.validate());
  options.verification.settle_steps = 101;
  options.enabled = false;
  EXPECT_NO_THROW(options.validate());
}

TEST(Options, SettledRefusesAnAlphaThatItCouldNeverJudgeBy) {
  Options options = Options::paper();
  options.verification.when = policy::When::kSettled;
  options.verification.alpha = 0.005;
  EXPECT_NO_THROW(options.validate());
  options.verification.alpha = 0.004;
  expect_refusal(options, "alpha: 0.004 is not legal, expected at least 0.005");
}

TEST(Options, PortfolioSharesAlphaAndNeedsARuleThatTellsBetterFromWorse) {
  Options options;
  options.predictor.kind = policy::PredictorKind::kPortfolio;
  options.predictor.portfolio = {"linear", "ema_trend"};
  EXPECT_DOUBLE_EQ(options.verification_of_one().alpha, options.verification.alpha / 2);
  EXPECT_NO_THROW(options.validate());
  options.verification.rule = policy::Rule::kProximity;
  expect_refusal(options, "rule: proximity is not legal, expected strict or sequential with a");
  options.mode = Mode::kShadow;
  EXPECT_NO_THROW(options.validate());
}

TEST(Options, RefusesToExtrapolateStatisticsWithoutCommonCoefficients) {
  Options options = Options::paper();
  options.batch_norm = BatchNormPolicy::kExtrapolate;
  EXPECT_NO_THROW(options.validate());
  for (const auto kind :
       {policy::PredictorKind::kQuadraticCode, policy::PredictorKind::kMomentum}) {
    options.predictor.kind = kind;
    expect_refusal(options, "batch_norm: extrapolate is not legal");
  }
}

TEST(Options, RefusesNegativeHorizon) {
  Options options;
  options.controller.horizons = {5, -10};
  expect_refusal(options, "horizons: -10 is not legal, expected an integer ≥ 1");
}

TEST(Options, ARunThatEndsBeforeAFirstTryIsToldNotRefused) {
  Options options;
  EXPECT_EQ(options.no_try_reason(), "");
  options.planned_steps = 40;
  EXPECT_NO_THROW(options.validate());
  EXPECT_EQ(options.no_try_reason(),
            "the snapshots that predictor ema_trend needs span 40 of 40 steps");
  options.planned_steps = 2;
  EXPECT_NO_THROW(options.validate());
  options.planned_steps = 41;
  EXPECT_EQ(options.no_try_reason(), "");
  options.controller.first_leap = 41;
  EXPECT_EQ(options.no_try_reason(), "first_leap is 41 of 41 steps");
  options.enabled = false;
  EXPECT_EQ(options.no_try_reason(), "");
}

TEST(Options, RefusesAHorizonAsLongAsTheRun) {
  Options options;
  options.planned_steps = 51;
  options.controller.horizons = {51};
  expect_refusal(options, "horizons: 51 is not legal");
  options.controller.horizons = {25};
  EXPECT_NO_THROW(options.validate());
}

TEST(Options, LengthOfTheRunDoesNotMatterWhenOff) {
  Options options;
  options.planned_steps = 3;
  options.enabled = false;
  EXPECT_NO_THROW(options.validate());
}

}  // namespace
}  // namespace leapverify

// The detector: published thresholds, percentiles with a burn-in, hysteresis, state.
#include <gmock/gmock.h>
#include <leapverify/regimes/detector.h>

#include <cmath>

namespace leapverify {
namespace {

using testing::HasSubstr;

constexpr double kStableSignal = 0.9999;
constexpr double kTransitionSignal = 0.998;
constexpr double kChaoticSignal = 0.9;

DetectorOptions fixed(std::int64_t hysteresis) {
  DetectorOptions options;
  options.thresholds = ThresholdKind::kFixed;
  options.hysteresis = hysteresis;
  return options;
}

DetectorOptions percentile(std::int64_t burn_in) {
  DetectorOptions options;
  options.thresholds = ThresholdKind::kPercentile;
  options.burn_in = burn_in;
  options.hysteresis = 1;
  return options;
}

TEST(Detector, PublishedThresholdsAreInclusive) {
  Detector detector(fixed(1));
  EXPECT_EQ(detector.observe(0.999489).reading, Regime::kStable);
  EXPECT_EQ(detector.observe(0.999488).reading, Regime::kTransition);
  EXPECT_EQ(detector.observe(0.996271).reading, Regime::kTransition);
  EXPECT_EQ(detector.observe(0.996270).reading, Regime::kChaotic);
}

TEST(Detector, StableNeedsHysteresisReadingsInARow) {
  Detector detector(fixed(2));
  EXPECT_EQ(detector.observe(kStableSignal).regime, Regime::kTransition);
  EXPECT_EQ(detector.observe(kStableSignal).regime, Regime::kStable);
  EXPECT_EQ(detector.observe(kTransitionSignal).regime, Regime::kTransition);
  EXPECT_EQ(detector.observe(kStableSignal).regime, Regime::kTransition);
  EXPECT_EQ(detector.observe(kStableSignal).regime, Regime::kStable);
}

TEST(Detector, ChaosCountsAtOnce) {
  Detector detector(fixed(3));
  for (int i = 0; i < 5; ++i) detector.observe(kStableSignal);
  ASSERT_EQ(detector.regime(), Regime::kStable);
  EXPECT_EQ(detector.observe(kChaoticSignal).regime, Regime::kChaotic);
  EXPECT_EQ(detector.observe(kStableSignal).regime, Regime::kChaotic);
}

TEST(Detector, SignalThatIsNotFiniteIsChaotic) {
  Detector detector(fixed(1));
  EXPECT_EQ(detector.observe(std::nan("")).reading, Regime::kChaotic);
}

TEST(Detector, PercentilesReadTransitionDuringTheBurnIn) {
  Detector detector(percentile(4));
  for (const double signal : {0.1, 0.9, 0.2, 0.8}) {
    const RegimeReading reading = detector.observe(signal);
    EXPECT_EQ(reading.reading, Regime::kTransition);
    EXPECT_TRUE(std::isnan(reading.stable_at_least));
  }
}

TEST(Detector, PercentilesInterpolateOverEarlierSignalsOnly) {
  Detector detector(percentile(4));
  for (const double signal : {0.4, 0.1, 0.3, 0.2}) detector.observe(signal);
  const RegimeReading reading = detector.observe(1);
  // Order statistics 0.1 0.2 0.3 0.4: the 70th percentile lies at 0.7 · 3 = 2.1, the 30th at 0.9.
  EXPECT_DOUBLE_EQ(reading.stable_at_least, 0.31);
  EXPECT_DOUBLE_EQ(reading.chaotic_at_most, 0.19);
  EXPECT_EQ(reading.reading, Regime::kStable);
}

TEST(Detector, RestoredDetectorGoesOnAlike) {
  for (const DetectorOptions& options : {fixed(3), percentile(4)}) {
    Detector original(options);
    for (const double signal : {0.9996, 0.998, 0.9997, 0.9998, 0.9999}) original.observe(signal);
    Detector copy(options);
    copy.restore(original.state());
    for (const double signal : {0.99991, 0.9, 0.99992, 0.99993, 0.99994}) {
      const RegimeReading a = original.observe(signal);
      const RegimeReading b = copy.observe(signal);
      EXPECT_EQ(a.regime, b.regime);
      EXPECT_EQ(a.reading, b.reading);
    }
  }
}

TEST(Detector, InterruptionMakesStabilityBeProvedAnew) {
  Detector detector(fixed(2));
  detector.observe(kStableSignal);
  detector.observe(kStableSignal);
  detector.interrupt();
  EXPECT_EQ(detector.regime(), Regime::kTransition);
  EXPECT_EQ(detector.observe(kStableSignal).regime, Regime::kTransition);
  EXPECT_EQ(detector.observe(kStableSignal).regime, Regime::kStable);
}

TEST(Detector, RefusesThresholdsThatCross) {
  DetectorOptions options = fixed(1);
  options.chaotic_at_most = 0.9999;
  try {
    Detector detector(options);
    FAIL() << "crossing thresholds were accepted";
  } catch (const InvalidOption& error) {
    EXPECT_THAT(error.what(), HasSubstr("chaotic_at_most: 0.9999 is not legal"));
    EXPECT_THAT(error.what(), HasSubstr("less than stable_at_least = 0.999489"));
  }
}

TEST(Detector, RefusesHysteresisZero) { EXPECT_THROW(Detector detector(fixed(0)), InvalidOption); }

TEST(MeanCosine, IsTheMean) {
  EXPECT_DOUBLE_EQ(mean_cosine({1, 0.5}), 0.75);
  EXPECT_TRUE(std::isnan(mean_cosine({})));
}

}  // namespace
}  // namespace leapverify

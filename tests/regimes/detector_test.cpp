// The detector: published thresholds, percentiles with a burn-in, the learning rate taken out,
// hysteresis, state.
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
    EXPECT_TRUE(std::isnan(reading.thresholds.stable_at_least));
  }
}

TEST(Detector, PercentilesInterpolateOverEarlierSignalsOnly) {
  Detector detector(percentile(4));
  for (const double signal : {0.4, 0.1, 0.3, 0.2}) detector.observe(signal);
  const RegimeReading reading = detector.observe(1);
  // Order statistics 0.1 0.2 0.3 0.4: the 70th percentile lies at 0.7 · 3 = 2.1, the 30th at 0.9.
  EXPECT_DOUBLE_EQ(reading.thresholds.stable_at_least, 0.31);
  EXPECT_DOUBLE_EQ(reading.thresholds.chaotic_at_most, 0.19);
  EXPECT_EQ(reading.reading, Regime::kStable);
}

DetectorOptions per_rate(DetectorOptions options) {
  options.per_rate = true;
  return options;
}

/// Both readings are the same, bitwise.
void expect_equal(const RegimeReading& a, const RegimeReading& b) {
  EXPECT_EQ(a.regime, b.regime);
  EXPECT_EQ(a.reading, b.reading);
  EXPECT_EQ(a.signal, b.signal);
  if (std::isnan(a.thresholds.stable_at_least) && std::isnan(b.thresholds.stable_at_least)) return;
  EXPECT_EQ(a.thresholds.stable_at_least, b.thresholds.stable_at_least);
  EXPECT_EQ(a.thresholds.chaotic_at_most, b.thresholds.chaotic_at_most);
}

TEST(Detector, RestoredDetectorGoesOnAlike) {
  for (const DetectorOptions& options :
       {fixed(3), percentile(4), per_rate(fixed(3)), per_rate(percentile(4))}) {
    Detector original(options);
    double rate = 0.1;
    for (const double cosine : {0.9996, 0.998, 0.9997, 0.9998, 0.9999}) {
      original.observe(cosine, rate *= 0.9);
    }
    Detector copy(options);
    copy.restore(original.state());
    for (const double cosine : {0.99991, 0.9, 0.99992, 0.99993, 0.99994}) {
      rate *= 1.1;
      expect_equal(original.observe(cosine, rate), copy.observe(cosine, rate));
    }
  }
}

TEST(Detector, PerRateWithAConstantRateIsBitwiseTheRawOne) {
  for (const DetectorOptions& options : {fixed(2), percentile(2)}) {
    Detector raw(options), normalised(per_rate(options));
    for (const double cosine : {0.9996, 0.1, -1e-17, 0.99999, 0.9997, -0.7, 0.9996, 1.0}) {
      const RegimeReading reading = raw.observe(cosine, 3e-4);
      expect_equal(reading, normalised.observe(cosine, 3e-4));
      EXPECT_EQ(reading.signal, cosine);
    }
  }
}

TEST(Detector, PerRateASmallerRateAloneDoesNotCalmTheSignal) {
  // What turns by an angle in proportion to the rate, while the rate falls to a fiftieth.
  Detector raw(fixed(1)), normalised(per_rate(fixed(1)));
  for (const double rate : {0.1, 0.05, 0.02, 0.01, 0.002}) {
    const double cosine = std::cos(rate);
    const RegimeReading reading = normalised.observe(cosine, rate);
    EXPECT_EQ(reading.reading, Regime::kChaotic) << rate;
    EXPECT_NEAR(1 - reading.signal, 1 - std::cos(0.1), 1e-2 * (1 - std::cos(0.1))) << rate;
    EXPECT_EQ(raw.observe(cosine, rate).reading == Regime::kChaotic, rate > 0.06) << rate;
  }
}

TEST(Detector, PerRatePercentilesAreOfSignalsAtOneRate) {
  // The same turning at every rate: were the early signals left as they were at the smaller rate,
  // the thresholds would lie far above the later ones.
  Detector detector(per_rate(percentile(3)));
  for (const double rate : {0.01, 0.02, 0.03}) detector.observe(std::cos(rate), rate);
  const RegimeReading reading = detector.observe(std::cos(0.1), 0.1);
  const double turning = 1 - std::cos(0.1);
  EXPECT_NEAR(1 - reading.thresholds.stable_at_least, turning, 1e-2 * turning);
  EXPECT_NEAR(1 - reading.thresholds.chaotic_at_most, turning, 1e-2 * turning);
}

TEST(Detector, PerRateAtRateZeroIsChaoticAndNotKept) {
  Detector detector(per_rate(percentile(1)));
  EXPECT_EQ(detector.observe(1, 0).reading, Regime::kChaotic) << "no rate is known yet";
  EXPECT_EQ(detector.observe(0.9, 0.1).reading, Regime::kTransition) << "still burning in";
  EXPECT_EQ(detector.observe(1, 0).reading, Regime::kChaotic);
  EXPECT_EQ(detector.observe(1, std::nan("")).reading, Regime::kChaotic);
  EXPECT_EQ(detector.state().measured.size(), 1u);
  EXPECT_EQ(detector.state().largest_rate, 0.1);
}

TEST(ThresholdsOf, ARunAreThoseItsRunningPercentilesEndWith) {
  for (const bool normalised : {false, true}) {
    DetectorOptions options = percentile(4);
    options.per_rate = normalised;
    options.stable_percentile = 80;
    options.chaotic_percentile = 25;
    const std::vector<CosineAtRate> run = {{0.9, 0.1}, {0.95, 0.2}, {std::nan(""), 0.3},
                                           {0.8, 0.1}, {0.7, 0.05}, {0.99, 0.1}};
    Detector detector(options);
    for (const CosineAtRate& one : run) detector.observe(one.cosine, one.rate);
    const Thresholds running = detector.observe(0.5, 0.01).thresholds;
    const Thresholds calibrated = thresholds_of(finite_signals(run, 0.3, options), options);
    EXPECT_EQ(calibrated.stable_at_least, running.stable_at_least);
    EXPECT_EQ(calibrated.chaotic_at_most, running.chaotic_at_most);
    if (normalised) continue;
    // Order statistics 0.7 0.8 0.9 0.95 0.99: the 80th percentile lies at 3.2, the 25th at 1.
    EXPECT_DOUBLE_EQ(calibrated.stable_at_least, 0.958);
    EXPECT_DOUBLE_EQ(calibrated.chaotic_at_most, 0.8);
  }
}

TEST(ThresholdsOf, FewerSignalsThanTheBurnInAreNone) {
  EXPECT_TRUE(std::isnan(thresholds_of({0.1, 0.2, 0.3}, percentile(4)).stable_at_least));
  EXPECT_TRUE(std::isnan(thresholds_of({0.1, 0.2, 0.3}, percentile(4)).chaotic_at_most));
  EXPECT_FALSE(std::isnan(thresholds_of({0.1, 0.2, 0.3, 0.4}, percentile(4)).chaotic_at_most));
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

}  // namespace
}  // namespace leapverify

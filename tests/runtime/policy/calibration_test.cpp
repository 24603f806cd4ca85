// The rule sequential keeps its promise on leaps without any true gain, finds real gains, and says
// what each costs; on gains of a real run, resampled about mean 0, and on four synthetic shapes.
// The same at greater length is bench/calibration.cpp.
#include <gmock/gmock.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "bench/null_leaps.h"

namespace leapverify::bench {
namespace {

constexpr std::int64_t kLeaps = 10000;
constexpr std::int64_t kLeapsWithEffect = 2000;
constexpr std::uint64_t kSeed = 17;
// Nine of the candidates that scripts/bench.sh calibration took from runs of the demo: every
// seventh of bench/results/2026-11-24-2cpu-calibration from the fifth on, the one most often
// accepted.
const char* const kCandidates = LEAPVERIFY_TEST_DATA "/candidates.jsonl";

policy::VerifierOptions options_for(policy::Rule rule, double alpha = 0.05) {
  policy::VerifierOptions options;
  options.rule = rule;
  options.alpha = alpha;
  options.margin = 0;
  return options;
}

/// real, gaussian, student_t3, skewed_up, skewed_down.
const std::vector<Null>& nulls() {
  static const std::vector<Null> all = [] {
    std::vector<Null> made = {real_null(read_pools(kCandidates))};
    for (Null& null : synthetic_nulls()) made.push_back(std::move(null));
    return made;
  }();
  return all;
}

TEST(Calibration, FalseAcceptsStayBelowAlphaForEveryShapeOfGains) {
  for (const double alpha : {0.05, 0.01}) {
    for (const Null& null : nulls()) {
      const Outcome outcome =
          verify(options_for(policy::Rule::kSequential, alpha), null, 0, kLeaps, kSeed);
      EXPECT_EQ(outcome.leaps, kLeaps);
      EXPECT_LE(outcome.upper_bound(), alpha) << null.name << ", " << outcome.accepted;
    }
  }
}

TEST(Calibration, GainsOfHalfTheirSpreadAreFoundEarly) {
  for (const Null& null : nulls()) {
    const Outcome better =
        verify(options_for(policy::Rule::kSequential), null, 0.5, kLeapsWithEffect, kSeed);
    EXPECT_GE(better.rate(), 0.8) << null.name;
    EXPECT_LT(better.mean_pairs, 80) << null.name;
  }
}

TEST(Calibration, LossesOfHalfTheirSpreadAreRefusedEarly) {
  for (const Null& null : nulls()) {
    const Outcome worse =
        verify(options_for(policy::Rule::kSequential), null, -0.5, kLeapsWithEffect, kSeed);
    EXPECT_LE(worse.rate(), 0.005) << null.name;
    EXPECT_LT(worse.mean_pairs, 80) << null.name;
  }
}

TEST(Calibration, StrictAcceptsHalfOfAllUselessLeaps) {
  for (const Null& null : nulls()) {
    const Outcome outcome = verify(options_for(policy::Rule::kStrict), null, 0, kLeaps, kSeed);
    EXPECT_GT(outcome.rate(), 0.45) << null.name;
    EXPECT_LT(outcome.rate(), 0.55) << null.name;
    EXPECT_EQ(outcome.mean_pairs, policy::VerifierOptions().sequences);
  }
}

TEST(Calibration, RareGreatLossesAreMissed) {
  const Outcome outcome =
      verify(options_for(policy::Rule::kSequential), rare_losses(), 0, kLeaps, kSeed);
  EXPECT_GT(outcome.rate(), 0.05) << "then the caveat in README.md is one no more";
}

TEST(Calibration, RealGainsAreOfManyCandidates) {
  const std::vector<Pool> pools = read_pools(kCandidates);
  EXPECT_GE(pools.size(), 8u);
  for (const Pool& pool : pools) EXPECT_GE(pool.pairs.size(), 128u);
  EXPECT_THROW(read_pools(LEAPVERIFY_TEST_DATA "/none.jsonl"), std::runtime_error);
}

}  // namespace
}  // namespace leapverify::bench

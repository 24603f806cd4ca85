// The betting test keeps its promise on null gains of several shapes, finds real gains, and says what
// each costs.
#include <gmock/gmock.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/policy/betting.h>
#include <leapverify/runtime/policy/verifier.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>

namespace leapverify::policy {
namespace {

constexpr int kLeaps = 10000;
constexpr double kAlpha = 0.05;

using Draw = std::function<double(std::mt19937_64&)>;

struct Shape {
  const char* name;
  /// Mean 0 and variance 1.
  Draw draw;
};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {
      {"gaussian", [](auto& r) { return std::normal_distribution<double>()(r); }},
      {"student_t3",
       [](auto& r) { return std::student_t_distribution<double>(3)(r) / std::sqrt(3.0); }},
      {"skewed_up", [](auto& r) { return std::exponential_distribution<double>()(r) - 1; }},
      {"skewed_down", [](auto& r) { return 1 - std::exponential_distribution<double>()(r); }}};
  return all;
}

struct Rates {
  double accepted = 0;
  double rejected = 0;
  double pairs = 0;
};

/// Verifies kLeaps leaps whose gains are `mean` + drawn ones; losses vary far more than gains.
Rates rates(Rule rule, const Draw& draw, double mean) {
  VerifierOptions options;
  options.rule = rule;
  options.alpha = kAlpha;
  options.margin = 0;
  options.sequences = 16;
  const Verifier verifier(options);
  std::mt19937_64 random(17);
  Rates result;
  for (int leap = 0; leap < kLeaps; ++leap) {
    std::vector<double> reference;
    std::vector<double> candidate;
    Decision decision;
    do {
      for (int i = 0; i < 16; ++i) {
        reference.push_back(5 + std::normal_distribution<double>()(random));
        candidate.push_back(reference.back() - 0.01 * (mean + draw(random)));
      }
      decision = verifier.decide(reference, candidate);
    } while (decision.verdict == Verdict::kUndecided);
    result.accepted += decision.verdict == Verdict::kAccepted ? 1.0 / kLeaps : 0;
    result.rejected += decision.verdict == Verdict::kRejected ? 1.0 / kLeaps : 0;
    result.pairs += static_cast<double>(decision.pairs) / kLeaps;
  }
  return result;
}

/// P(at most `count` of kLeaps) when each has the chance p.
double binomial_tail(int count, double p) {
  double sum = 0;
  for (int i = 0; i <= count; ++i) {
    sum +=
        std::exp(std::lgamma(kLeaps + 1.0) - std::lgamma(i + 1.0) - std::lgamma(kLeaps - i + 1.0) +
                 i * std::log(p) + (kLeaps - i) * std::log1p(-p));
  }
  return sum;
}

/// The upper 95 % bound of Clopper and Pearson (1934) on the rate seen among kLeaps leaps.
double upper_bound(double rate) {
  const int count = static_cast<int>(std::lround(rate * kLeaps));
  double low = 0;
  double high = 1 - 1e-12;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (binomial_tail(count, middle) > 0.05 ? low : high) = middle;
  }
  return high;
}

TEST(Betting, FalseAcceptsStayBelowAlphaForEveryShapeOfNoise) {
  for (const Shape& shape : shapes()) {
    const Rates null = rates(Rule::kSequential, shape.draw, 0);
    RecordProperty(std::string("false_accepts_") + shape.name, std::to_string(null.accepted));
    EXPECT_LE(upper_bound(null.accepted), kAlpha) << shape.name;
    EXPECT_NEAR(null.accepted + null.rejected, 1, 1e-9);
  }
}

TEST(Betting, StrictRuleAcceptsHalfOfAllUselessLeaps) {
  const Rates null = rates(Rule::kStrict, shapes()[0].draw, 0);
  EXPECT_NEAR(null.accepted, 0.5, 0.02);
}

TEST(Betting, FindsGainsOfHalfTheirSpreadAndStopsEarlyBothWays) {
  for (const Shape& shape : shapes()) {
    const Rates better = rates(Rule::kSequential, shape.draw, 0.5);
    EXPECT_GE(better.accepted, 0.8) << shape.name;
    EXPECT_LT(better.pairs, 80) << shape.name;
    const Rates worse = rates(Rule::kSequential, shape.draw, -0.5);
    EXPECT_LE(worse.accepted, 0.005) << shape.name;
    EXPECT_LT(worse.pairs, 80) << shape.name;
  }
}

TEST(BettingTest, AGainAtMostDoublesTheCapital) {
  BettingTest test(0, 1);
  double capital = 1;
  for (int i = 0; i < 30; ++i) {
    test.add(1e9);
    EXPECT_LE(test.capital_for(), 2 * capital);
    capital = test.capital_for();
  }
  EXPECT_GT(capital, 1e4);
  EXPECT_EQ(test.capital_against(), 1) << "nothing was betted on the opposite";
  EXPECT_EQ(test.count(), 30);
}

TEST(BettingTest, NoGainRuins) {
  BettingTest test(0.5, 1);
  for (int i = 0; i < 20; ++i) test.add(1);
  test.add(-1e9);
  EXPECT_GT(test.capital_for(), 0);
}

TEST(BettingTest, MarginCountsAgainstTheCandidate) {
  BettingTest test(0.5, 1);
  for (int i = 0; i < 50; ++i) test.add(0.3);
  EXPECT_EQ(test.capital_for(), 1);
  EXPECT_GT(test.capital_against(), 20);
}

TEST(BettingTest, FirstBetIsMadeBlindly) {
  BettingTest test(0, 1);
  test.add(1);
  EXPECT_EQ(test.capital_for(), 1);
  EXPECT_EQ(test.capital_against(), 1);
}

TEST(BettingTest, RefusesWhatHasNoMeaning) {
  EXPECT_THROW(BettingTest(-0.1, 1), ContractError);
  EXPECT_THROW(BettingTest(1, 1), ContractError);
  EXPECT_THROW(BettingTest(0, 0), ContractError);
  BettingTest test(0, 1);
  EXPECT_THROW(test.add(std::nan("")), ContractError);
}

}  // namespace
}  // namespace leapverify::policy

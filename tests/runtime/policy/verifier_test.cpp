// The published rules, and what rejects under every rule.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/verifier.h>

#include <cmath>
#include <limits>

namespace leapverify::policy {
namespace {

using testing::HasSubstr;

VerifierOptions options_for(Rule rule) {
  VerifierOptions options;
  options.rule = rule;
  options.margin = 0;
  options.sequences = 2;
  return options;
}

Verdict verdict(const Verifier& verifier, double reference, double candidate) {
  return verifier.decide({reference - 1, reference + 1}, {candidate - 1, candidate + 1}).verdict;
}

TEST(Verifier, StrictDemandsALowerMeanLoss) {
  const Verifier verifier(options_for(Rule::kStrict));
  EXPECT_EQ(verdict(verifier, 4, 3.999), Verdict::kAccepted);
  EXPECT_EQ(verdict(verifier, 4, 4), Verdict::kRejected);
  EXPECT_EQ(verdict(verifier, 4, 4.001), Verdict::kRejected);
}

TEST(Verifier, SequentialNeedsPilotAndDoublingsBeforeItCanAccept) {
  VerifierOptions options = options_for(Rule::kSequential);
  options.alpha = 0.05;
  options.pilot = 8;
  options.max_sequences = 40;
  const Verifier verifier(options);
  EXPECT_EQ(verifier.pairs_needed(), 8 + 5 + 1);
  EXPECT_EQ(verifier.max_pairs(), 40);
  const auto decide = [&](std::size_t pairs, double gain) {
    return verifier.decide(std::vector<double>(pairs, 4), std::vector<double>(pairs, 4 - gain));
  };
  EXPECT_EQ(decide(13, 0.1).verdict, Verdict::kUndecided);
  EXPECT_EQ(decide(40, 0.1).verdict, Verdict::kAccepted);
  EXPECT_GE(*decide(40, 0.1).capital_for, 20);
  EXPECT_EQ(decide(40, -0.1).verdict, Verdict::kRejected);
  EXPECT_TRUE(decide(40, -0.1).refuted);
  EXPECT_GE(*decide(40, -0.1).capital_against, 20);
  const Decision nothing = decide(40, 0);
  EXPECT_EQ(nothing.verdict, Verdict::kRejected);
  EXPECT_FALSE(nothing.refuted) << "none was shown";
  EXPECT_THAT(nothing.reason, HasSubstr("too small"));
}

TEST(Verifier, SequentialDoesNotBetOnThePilot) {
  const Verifier verifier(options_for(Rule::kSequential));
  std::vector<double> reference(20, 4), candidate(20, 4);
  for (std::size_t i = 0; i < 8; ++i) candidate[i] = 3.9;
  const Decision decision = verifier.decide(reference, candidate);
  EXPECT_EQ(decision.capital_for, 1);
  EXPECT_EQ(decision.capital_against, 1);
}

TEST(Verifier, SequentialClipsToMultiplesOfThePilot) {
  VerifierOptions options = options_for(Rule::kSequential);
  std::vector<double> reference(100, 4), candidate(100, 3.9);
  // One harm among the gains that a narrow clip hides.
  candidate[10] = 8;
  options.clip = 2;
  const Decision narrow = Verifier(options).decide(reference, candidate);
  options.clip = 100;
  const Decision wide = Verifier(options).decide(reference, candidate);
  EXPECT_EQ(narrow.verdict, Verdict::kAccepted);
  EXPECT_NE(wide.verdict, Verdict::kAccepted);
  EXPECT_LT(*wide.capital_for, *narrow.capital_for);
}

TEST(Verifier, OnlySequentialBoundsTheChanceOfAFalseAccept) {
  VerifierOptions options = options_for(Rule::kSequential);
  options.alpha = 0.02;
  EXPECT_EQ(Verifier(options).false_accept_rate(), 0.02);
  EXPECT_EQ(Verifier(options_for(Rule::kStrict)).false_accept_rate(), std::nullopt);
}

TEST(Verifier, SequentialGivesUpAtItsLastSequence) {
  VerifierOptions options = options_for(Rule::kSequential);
  options.max_sequences = 20;
  const Verifier verifier(options);
  std::vector<double> reference(20, 4), candidate(20, 4);
  for (std::size_t i = 0; i < 20; ++i) candidate[i] += i % 2 == 0 ? 0.1 : -0.1;
  reference.resize(19);
  candidate.resize(19);
  EXPECT_EQ(verifier.decide(reference, candidate).verdict, Verdict::kUndecided);
  reference.push_back(4);
  candidate.push_back(4);
  const Decision decision = verifier.decide(reference, candidate);
  EXPECT_EQ(decision.verdict, Verdict::kRejected);
  EXPECT_THAT(decision.reason, HasSubstr("max_sequences"));
}

TEST(Verifier, SequentialRefusesFewerSequencesThanItNeeds) {
  VerifierOptions options = options_for(Rule::kSequential);
  options.max_sequences = 13;
  EXPECT_THROW(Verifier{options}, InvalidOption);
}

TEST(Verifier, MarginIsDemandedOnTop) {
  VerifierOptions options = options_for(Rule::kStrict);
  options.margin = 0.25;
  const Verifier verifier(options);
  EXPECT_EQ(verdict(verifier, 4, 3.75), Verdict::kRejected);
  EXPECT_EQ(verdict(verifier, 4, 3.5), Verdict::kAccepted);
}

TEST(Verifier, AdaptiveAllowsTheSpreadOfPastLossesOnly) {
  Verifier verifier(options_for(Rule::kAdaptive));
  EXPECT_EQ(verdict(verifier, 4, 4), Verdict::kRejected) << "no past: no slack";
  verifier.remember(3);
  verifier.remember(5);
  // Standard deviation of 3 and 5 is √2.
  EXPECT_EQ(verdict(verifier, 4, 5.41), Verdict::kAccepted);
  EXPECT_EQ(verdict(verifier, 4, 5.42), Verdict::kRejected);
}

TEST(Verifier, AdaptiveForgetsBeyondItsWindow) {
  VerifierOptions options = options_for(Rule::kAdaptive);
  options.adaptive_window = 2;
  Verifier verifier(options);
  for (const double loss : {100.0, 4.0, 4.0}) verifier.remember(loss);
  EXPECT_EQ(verdict(verifier, 4, 4), Verdict::kRejected);
}

TEST(Verifier, ProximityIsTwoSidedAndRelative) {
  const Verifier verifier(options_for(Rule::kProximity));
  EXPECT_EQ(verdict(verifier, 4, 4.19), Verdict::kAccepted);
  EXPECT_EQ(verdict(verifier, 4, 4.21), Verdict::kRejected);
  EXPECT_EQ(verdict(verifier, 4, 3.81), Verdict::kAccepted);
  EXPECT_EQ(verdict(verifier, 4, 3.79), Verdict::kRejected);
}

TEST(Verifier, LossThatIsNotFiniteRejectsUnderEveryRule) {
  for (const Named<Rule>& rule : EnumNames<Rule>::names) {
    const Verifier verifier(options_for(rule.value));
    for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()}) {
      for (const Decision& decision :
           {verifier.decide({4, 4}, {1, bad}), verifier.decide({bad, 4}, {1, 1})}) {
        EXPECT_EQ(decision.verdict, Verdict::kRejected) << rule.name << " with " << bad;
        EXPECT_THAT(decision.reason, HasSubstr("not finite"));
      }
    }
  }
}

TEST(Verifier, TooFewPairsAreUndecided) {
  const Verifier verifier(options_for(Rule::kStrict));
  EXPECT_EQ(verifier.decide({4}, {1}).verdict, Verdict::kUndecided);
}

TEST(Verifier, DecisionCarriesItsNumbers) {
  const Decision decision = Verifier(options_for(Rule::kProximity)).decide({3, 5}, {4, 4});
  EXPECT_EQ(decision.pairs, 2);
  EXPECT_DOUBLE_EQ(decision.reference_loss, 4);
  EXPECT_DOUBLE_EQ(decision.candidate_loss, 4);
  EXPECT_DOUBLE_EQ(decision.limit, 4.2);
}

TEST(Verifier, PairsMustMatch) {
  EXPECT_THROW(Verifier(options_for(Rule::kStrict)).decide({1, 2}, {1}), ContractError);
}

TEST(Verifier, RefusesIllegalOptions) {
  VerifierOptions options;
  options.sequences = 0;
  EXPECT_THROW(Verifier verifier(options), InvalidOption);
  options = VerifierOptions();
  options.clip = std::numeric_limits<double>::infinity();
  EXPECT_THROW(Verifier verifier(options), InvalidOption) << "every bet would be 0";
}

}  // namespace
}  // namespace leapverify::policy

// trace_losses: the losses of single sequences in the trace are those that each decision was taken
// on.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/policy/statistics.h>

#include <nlohmann/json.hpp>

#include "runtime/toy.h"

namespace leapverify {
namespace {

using nlohmann::json;

std::vector<json> candidates_with(Options options, bool trace_losses) {
  options.trace_losses = trace_losses;
  ToyRun run;
  run.wrap(options);
  run.train(200);
  return events_of(run, "candidate");
}

/// Candidates that are accepted and rejected after different numbers of sequences.
Options betting_options() {
  Options options = eager_options();
  options.controller.horizons = {2, 5, 10};
  options.verification.rule = policy::Rule::kSequential;
  options.verification.max_sequences = 64;
  return options;
}

Options looking_back_options() {
  Options options = betting_options();
  options.reference = Reference::kDenoised;
  options.on_accept = OnAccept::kRate;
  options.rate.smallest = 0.1;
  return options;
}

double mean(const std::vector<double>& values) { return policy::summarize(values).mean; }

TEST(TraceLosses, AreThoseOfThePairsThatWereCompared) {
  int shorter = 0;
  int looks_back = 0;
  for (const Options& options : {eager_options(), betting_options(), looking_back_options()}) {
    std::int64_t last_step = 0;
    std::int64_t last_pairs = 0;
    for (const json& candidate : candidates_with(options, true)) {
      const auto reference = candidate.at("reference_losses").get<std::vector<double>>();
      const auto losses = candidate.at("candidate_losses").get<std::vector<double>>();
      const std::int64_t pairs = candidate.at("pairs");
      ASSERT_EQ(static_cast<std::int64_t>(reference.size()), pairs);
      ASSERT_EQ(static_cast<std::int64_t>(losses.size()), pairs);
      EXPECT_EQ(mean(reference), candidate.at("reference_loss"));
      EXPECT_EQ(mean(losses), candidate.at("candidate_loss"));
      shorter += candidate.at("step") == last_step && pairs < last_pairs ? 1 : 0;
      looks_back += candidate.at("horizon") < 0 ? 1 : 0;
      last_step = candidate.at("step");
      last_pairs = pairs;
    }
  }
  EXPECT_GT(shorter, 0) << "a candidate must have needed fewer pairs than the one before it";
  EXPECT_GT(looks_back, 0);
}

TEST(TraceLosses, OfAChainAreComparedWithTheLastWinner) {
  const std::vector<json> candidates = candidates_with(eager_options(), true);
  int links = 0;
  for (std::size_t i = 1; i < candidates.size(); ++i) {
    if (candidates[i].at("step") != candidates[i - 1].at("step")) continue;
    EXPECT_EQ(candidates[i].at("reference_losses"), candidates[i - 1].at("candidate_losses"));
    ++links;
  }
  EXPECT_GT(links, 0);
}

TEST(TraceLosses, ChangeNothingElse) {
  const std::vector<json> without = candidates_with(betting_options(), false);
  std::vector<json> with = candidates_with(betting_options(), true);
  for (json& candidate : with) {
    EXPECT_EQ(candidate.erase("reference_losses"), 1u);
    EXPECT_EQ(candidate.erase("candidate_losses"), 1u);
  }
  EXPECT_EQ(with, without);
  EXPECT_GT(without.size(), 20u);
}

TEST(TraceLosses, AreAbsentWhereNothingWasEvaluated) {
  Options options = betting_options();
  options.trust_norm = 1e-9;
  const std::vector<json> candidates = candidates_with(options, true);
  EXPECT_GT(candidates.size(), 20u);
  for (const json& candidate : candidates) {
    EXPECT_FALSE(candidate.contains("reference_losses"));
  }
}

}  // namespace
}  // namespace leapverify

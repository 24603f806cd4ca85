// Portfolios and cascades in a run, and that a run resumes bitwise in the midst of either.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_verify.h>

#include "runtime/resumed.h"
#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using nlohmann::json;
using testing::ElementsAre;

Options portfolio(Options options = eager_options()) {
  options.predictor.kind = policy::PredictorKind::kPortfolio;
  options.predictor.portfolio = {"linear", "average", "least_squares"};
  options.predictor.window = 3;
  return options;
}

TEST(PortfolioRun, AllRejectedIsTheBaseOptimizerBitwise) {
  ToyRun bare;
  bare.train(150);
  ToyRun wrapped;
  wrapped.wrap(portfolio());
  reject_everything(wrapped);
  wrapped.train(150);
  EXPECT_TRUE(bitwise_equal(bare.everything(), wrapped.everything()));
  EXPECT_GE(events_of(wrapped, "candidate").size(), 20u);
}

TEST(PortfolioRun, TheBestOfAllPredictorsIsCommittedAndAskedFirstNextTime) {
  ToyRun run;
  Options options = portfolio();
  options.controller.horizons = {2};
  run.wrap(options);
  // The losses of a try: the reference's, then one lower for each predictor but the last.
  run.change_losses = [&run, step = std::int64_t{-1}, count = 0](const at::Tensor& losses) mutable {
    if (step != run.progress.data) count = 0;
    step = run.progress.data;
    const double offsets[] = {0, 0, -1, -2, -1.5, -2, -1.5};
    return at::zeros_like(losses) + offsets[std::min(count++, 6)];
  };
  run.train(15);
  std::vector<std::string> asked;
  std::vector<std::string> verdicts;
  for (const json& candidate : events_of(run, "candidate")) {
    asked.push_back(candidate.at("predictor"));
    verdicts.push_back(candidate.at("verdict"));
  }
  EXPECT_THAT(asked, ElementsAre("linear", "average", "least_squares"));
  EXPECT_THAT(verdicts, ElementsAre("accepted", "accepted", "rejected"));
  const std::vector<json> leaps = events_of(run, "leap");
  ASSERT_EQ(leaps.size(), 1u);
  // It is the average's weights that were landed on.
  EXPECT_EQ(leaps[0].at("digest_after"), events_of(run, "candidate").at(1).at("digest"));
  run.trace.clear();
  run.train(10);
  ASSERT_FALSE(events_of(run, "candidate").empty());
  EXPECT_EQ(events_of(run, "candidate").at(0).at("predictor"), "average");
}

TEST(PortfolioRun, ShadowAsksEveryMemberForEveryHorizonAtEachTry) {
  ToyRun run;
  Options options = portfolio();
  options.mode = Mode::kShadow;
  options.controller.horizons = {2, 5};
  options.verification.rule = policy::Rule::kProximity;
  options.verification.proximity_tolerance = 1e9;
  run.wrap(options);
  run.train(150);
  const std::size_t tries = events_of(run, "leap").size();
  ASSERT_GE(tries, 10u);
  const std::vector<json> candidates = events_of(run, "candidate");
  ASSERT_EQ(candidates.size(), 6 * tries);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const char* expected[] = {"linear", "average", "least_squares"};
    EXPECT_EQ(candidates[i].at("predictor"), expected[i / 2 % 3]);
    EXPECT_EQ(candidates[i].at("horizon"), i % 2 == 0 ? 2 : 5);
  }
}

struct Cascade {
  std::int64_t depth;
  std::int64_t horizon;
};

class PublishedCascade : public testing::TestWithParam<Cascade> {};

TEST_P(PublishedCascade, LinksLieAsFarApartAsTheyReach) {
  const auto [depth, horizon] = GetParam();
  ToyRun run;
  Options options = accepting_options();
  options.observe_every = 50;
  options.controller.horizons = {horizon};
  options.controller.cascade = depth;
  run.wrap(options);
  run.train(static_cast<int>(99 + depth * horizon));
  std::vector<std::int64_t> steps, links, expected_steps, expected_links;
  for (const json& leap : events_of(run, "leap")) {
    steps.push_back(leap.at("step"));
    links.push_back(leap.at("link"));
  }
  for (std::int64_t i = 0; i < depth; ++i) {
    expected_steps.push_back(100 + i * horizon);
    expected_links.push_back(i + 1);
  }
  EXPECT_EQ(steps, expected_steps);
  EXPECT_EQ(links, expected_links);
}

INSTANTIATE_TEST_SUITE_P(All, PublishedCascade,
                         testing::Values(Cascade{4, 25}, Cascade{2, 50}, Cascade{10, 10}),
                         [](const auto& instance) {
                           return std::to_string(instance.param.depth) + "_links_of_" +
                                  std::to_string(instance.param.horizon);
                         });

TEST(CascadeRun, StopsAtTheFirstRejectionAndUndoesItBitwise) {
  ToyRun run;
  Options options = eager_options();
  options.observe_every = 10;
  options.probes = 0;
  options.controller.horizons = {5};
  options.controller.cascade = 4;
  run.wrap(options);
  // Two tries accept, then all reject; a try is the reference's losses and the candidate's, and where
  // accepted two passes more.
  run.change_losses = [&run](const at::Tensor& losses) {
    const double sign = run.leaps->status().ledger.accepted < 2 ? -1 : 1;
    return at::zeros_like(losses) + sign * run.evaluations;
  };
  run.train(34);
  const std::vector<json> leaps = events_of(run, "leap");
  ASSERT_EQ(leaps.size(), 3u);
  EXPECT_EQ(leaps[2].at("step"), 30);
  EXPECT_EQ(leaps[2].at("link"), 3);
  EXPECT_EQ(leaps[2].at("outcome"), "rejected");
  EXPECT_EQ(leaps[2].at("digest_after"), leaps[2].at("digest_before"));
}

TEST(CascadeRun, EndsWhereItsNextLinkIsGivenUp) {
  ToyRun run;
  Options options = accepting_options();
  options.gate = GateSource::kNextBatch;
  options.controller.horizons = {7};
  options.controller.cascade = 4;
  run.wrap(options);
  run.train_on_batches(17);
  ASSERT_EQ(events_of(run, "leap").size(), 1u);
  run.train(20);
  EXPECT_EQ(events_of(run, "failure").size(), 1u) << "the second link met no batch";
  EXPECT_GT(events_of(run, "leap").size(), 1u) << "and observation goes on";
}

TEST(CascadeRun, ResumedWithoutCascadesGoesOnObserving) {
  ToyRun first;
  Options options = accepting_options();
  options.controller.horizons = {7};
  options.controller.cascade = 4;
  first.wrap(options);
  first.train(12);
  ASSERT_EQ(events_of(first, "leap").size(), 1u);
  ToyRun second;
  options.controller.cascade = 1;
  second.wrap(options);
  second.go_on_from(first, capture_random_state(toy_device()));
  second.train(30);
  EXPECT_GT(events_of(second, "leap").size(), 2u);
}

TEST(Resumed, WithALeapPendingButSwitchedOff) {
  ToyRun first;
  Options options = eager_options();
  options.gate = GateSource::kNextBatch;
  first.wrap(options);
  first.train_on_batches(10);
  ToyRun second;
  options.enabled = false;
  second.wrap(options);
  second.go_on_from(first, capture_random_state(toy_device()));
  second.train_on_batches(5);
  EXPECT_TRUE(events_of(second, "candidate").empty());
}

/// A run with `options` that is stopped and resumed after each of many steps is bitwise the same.
void expect_resumes(const Options& options, bool on_batches = false) {
  const auto train = [on_batches](ToyRun& run, int steps) {
    on_batches ? run.train_on_batches(steps) : run.train(steps);
  };
  constexpr int kSteps = 48;
  ToyRun whole;
  whole.scheduled = true;
  whole.wrap(options);
  train(whole, kSteps);
  EXPECT_GT(whole.leaps->status().ledger.tries, 1);
  for (int stop = 9; stop < kSteps; stop += 1) {
    expect_resumed_is(whole, options, stop, kSteps, train);
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
}

TEST(Resumed, WithACascadeHalfDone) {
  Options options = accepting_options();
  options.controller.horizons = {7};
  options.controller.cascade = 3;
  expect_resumes(options);
}

TEST(Resumed, WithALeapPendingForTheNextBatch) {
  Options options = eager_options();
  options.gate = GateSource::kNextBatch;
  expect_resumes(options, /*on_batches=*/true);
  options = accepting_options();
  options.gate = GateSource::kNextBatch;
  expect_resumes(options, /*on_batches=*/true);
}

TEST(Resumed, WithAPortfolioThatHasLearned) { expect_resumes(portfolio()); }

TEST(Resumed, WithForecastsAndSkippedData) {
  Options options = accepting_options();
  options.data = DataPolicy::kSkip;
  options.schedule = SchedulePolicy::kAdvance;
  options.verification.when = policy::When::kRaced;
  options.verification.settle_steps = 2;
  expect_resumes(options);
  options = eager_options();
  options.verification.when = policy::When::kSettled;
  options.verification.settle_steps = 2;
  options.verification.alpha = 0.5;
  expect_resumes(options);
}

TEST(Resumed, WithExtrapolatedStatistics) {
  Options options = accepting_options();
  options.batch_norm = BatchNormPolicy::kExtrapolate;
  expect_resumes(options);
}

}  // namespace
}  // namespace leapverify

// Looks at a run whose learning rate is free: they leave no trace, or the run goes back to where it was
// better.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/policy/statistics.h>

#include <cmath>

#include "runtime/resumed.h"
#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"
#include "thread_ranks.h"

namespace leapverify {
namespace {

using nlohmann::json;
using testing::AnyOf;
using testing::Each;
using testing::IsEmpty;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Looks at 7, 25, 57 and 100 of 100 steps.
Options looked_at() {
  Options options = Options::automatic();
  options.observe_every = 5;
  options.planned_steps = 100;
  options.rate.looks = 4;
  options.verification.max_sequences = 64;
  options.controller.max_overhead = std::numeric_limits<double>::infinity();
  return options;
}

Options not_looked_at() {
  Options options = looked_at();
  options.rate.looks = 0;
  return options;
}

std::vector<std::int64_t> steps_of(const std::vector<json>& events) {
  std::vector<std::int64_t> steps;
  for (const json& event : events) steps.push_back(event.at("step"));
  return steps;
}

double rate_in_force(const ToyRun& run) {
  return run.base->param_groups().front().options().get_lr() *
         run.leaps->status().learning_rate_scale;
}

/// Held-out losses are so much higher anywhere but at these weights, from the step on.
void make_worse_than(ToyRun& run, const std::vector<at::Tensor>& weights, std::int64_t from,
                     double by) {
  run.change_losses = [&run, weights, from, by](const at::Tensor& losses) {
    return run.progress.data < from || bitwise_equal(weights_of(run), weights) ? losses
                                                                               : losses + by;
  };
}

TEST(FreeLook, WhatIsShownToBeBetterLeavesNoTrace) {
  ToyRun unseen;
  unseen.wrap(not_looked_at());
  unseen.train(100);
  ToyRun run;
  run.wrap(looked_at());
  run.change_losses = [&run](const at::Tensor& losses) {
    return bitwise_equal(weights_of(run), listed(run, "kept_average.")) ? losses + 10 : losses;
  };
  run.train(100);
  EXPECT_TRUE(bitwise_equal(unseen.everything(), run.everything()));
  const std::vector<json> looks = events_of(run, "look");
  EXPECT_EQ(steps_of(looks), (std::vector<std::int64_t>{7, 25, 57, 100}));
  std::int64_t best = 0;
  for (const json& look : looks) {
    EXPECT_EQ(look.at("outcome"), "better");
    EXPECT_EQ(look.at("best_step"), best);
    EXPECT_EQ(look.at("digest_before"), look.at("digest_after"));
    EXPECT_GT(look.at("pairs"), 0);
    EXPECT_GT(look.at("best_loss").get<double>(), look.at("loss").get<double>() + 5);
    best = look.at("step");
  }
  EXPECT_EQ(run.leaps->status().best_step, 100);
  EXPECT_EQ(run.leaps->status().ledger.looks, 4);
  EXPECT_EQ(run.leaps->status().ledger.went_back, 0);
  EXPECT_EQ(run.leaps->status().ledger.tries, 0) << "no candidates are";
  EXPECT_THAT(events_of(run, "candidate"), IsEmpty());
  EXPECT_GT(run.leaps->status().overhead, 0);
}

TEST(FreeLook, ComparesTheAveragesOfNowAndOfTheLookBefore) {
  ToyRun run;
  run.wrap(looked_at());
  const std::vector<at::Tensor> start = weights_of(run);
  std::vector<std::vector<at::Tensor>> evaluated;
  run.before_evaluation = [&] { evaluated.push_back(weights_of(run)); };
  run.train(7);
  const std::vector<at::Tensor> first = listed(run, "iterate_average.");
  ASSERT_GE(evaluated.size(), 2u);
  EXPECT_TRUE(bitwise_equal(evaluated[0], first));
  EXPECT_TRUE(bitwise_equal(evaluated[1], start))
      << "where the run began is the first to be better than";
  evaluated.clear();
  run.train(18);
  ASSERT_GE(evaluated.size(), 2u);
  EXPECT_TRUE(bitwise_equal(evaluated[0], listed(run, "iterate_average.")));
  EXPECT_TRUE(bitwise_equal(evaluated[1], first));
}

TEST(FreeLook, ThatShowsItBetterEndsTheQuestionWhetherTheStrideIsTooLong) {
  ToyRun run;
  run.wrap(looked_at());
  const auto fits = [&] {
    return json::parse(run.leaps->state().json).at("rate").at("fits").get<bool>();
  };
  while (events_of(run, "look").empty() ||
         events_of(run, "look").back().at("outcome") != "better") {
    ASSERT_FALSE(fits()) << "nothing was shown yet";
    run.train(1);
  }
  EXPECT_TRUE(fits());
}

TEST(FreeLook, GoesBackToAnAverageThatWasBetterAtHalfOfTheRate) {
  ToyRun run;
  run.wrap(looked_at());
  run.train(25);
  const std::vector<at::Tensor> kept = listed(run, "kept_average.");
  const std::int64_t kept_at = json::parse(run.leaps->state().json).at("kept_step");
  make_worse_than(run, kept, 30, 10);
  run.train(31);
  const double before = rate_in_force(run);
  const auto moments = export_state(*run.base).tensors;
  run.train(1);
  EXPECT_TRUE(bitwise_equal(weights_of(run), kept));
  EXPECT_TRUE(bitwise_equal(listed(run, "iterate."), kept));
  EXPECT_TRUE(bitwise_equal(listed(run, "iterate_average."), kept));
  std::vector<at::Tensor> matrices;
  for (const at::Tensor& weight : kept) {
    if (weight.dim() > 1) matrices.push_back(weight.flatten());
  }
  EXPECT_TRUE(bitwise_equal(listed(run, "path_average."), matrices))
      << "the stride is measured from here";
  EXPECT_EQ(export_state(*run.base).tensors.size(), moments.size());
  const json look = events_of(run, "look").back();
  EXPECT_EQ(look.at("outcome"), "went_back");
  EXPECT_EQ(look.at("best_step"), kept_at);
  EXPECT_EQ(look.at("reason"), "the capital betted on the best so far reached 1 / alpha");
  const json rate = events_of(run, "rate").back();
  EXPECT_EQ(rate.at("reason"), "an earlier average is better");
  EXPECT_EQ(rate.at("to").get<double>(), 0.5 * rate.at("from").get<double>());
  EXPECT_EQ(run.leaps->status().ledger.went_back, 1);
  const double ceiling = rate_in_force(run);
  EXPECT_LT(ceiling, 0.6 * before);
  for (int step = 58; step < 100; ++step) {
    run.train(1);
    EXPECT_LE(rate_in_force(run), ceiling * (1 + 1e-12)) << step;
  }
  EXPECT_FALSE(bitwise_equal(weights_of(run), kept)) << "it trains on";
  run.train(1);
  EXPECT_TRUE(bitwise_equal(weights_of(run), kept)) << "nor does it end anywhere worse";
  EXPECT_EQ(events_of(run, "look").back().at("best_step"), kept_at);
}

TEST(FreeLook, WhatIsNotShownToBeBetterTakesNothingsPlace) {
  ToyRun run;
  run.wrap(looked_at());
  // Neither is better.
  run.change_losses = [](const at::Tensor& losses) { return losses * 0; };
  const std::vector<at::Tensor> start = weights_of(run);
  run.train(50);
  EXPECT_EQ(events_of(run, "look").size(), 2u);
  EXPECT_TRUE(bitwise_equal(listed(run, "kept_average."), start));
  EXPECT_EQ(events_of(run, "look").back().at("best_step"), 0);
  run.change_losses = nullptr;
  run.train(25);
  EXPECT_EQ(events_of(run, "look").back().at("best_step"), 0);
  EXPECT_EQ(run.leaps->status().best_step, 57);
  EXPECT_FALSE(bitwise_equal(listed(run, "kept_average."), start));
}

TEST(FreeLook, WhatIsNotShownToBeBetterHalvesTheRate) {
  ToyRun run;
  run.wrap(looked_at());
  run.train(24);
  const std::vector<at::Tensor> iterate = listed(run, "iterate.");
  run.change_losses = [](const at::Tensor& losses) { return losses * 0; };
  run.train(1);
  EXPECT_EQ(events_of(run, "look").back().at("outcome"), "slowed_down");
  EXPECT_FALSE(bitwise_equal(listed(run, "iterate."), iterate)) << "it stays where it is";
  const json rate = events_of(run, "rate").back();
  EXPECT_EQ(rate.at("reason"), "no better average was shown");
  EXPECT_EQ(rate.at("to").get<double>(), 0.5 * rate.at("from").get<double>());
  const double ceiling = rate_in_force(run);
  run.change_losses = nullptr;
  run.train(24);
  EXPECT_LE(rate_in_force(run), ceiling * (1 + 1e-12));
}

TEST(FreeLook, IteratesOfASlowerRunAreHeard) {
  ToyRun run;
  run.wrap(looked_at());
  run.train(24);
  const double before = json::parse(run.leaps->state().json).at("iterates_weigh");
  run.change_losses = [](const at::Tensor& losses) { return losses * 0; };
  run.train(1);
  const double after = json::parse(run.leaps->state().json).at("iterates_weigh");
  EXPECT_LT(after, 0.3 * before);
  EXPECT_GT(after, 0.2 * before);
}

TEST(FreeLook, WhereTheRunEndsTheLowerLossDecides) {
  for (const double lower : {1e-3, -1e-3}) {
    ToyRun run;
    run.wrap(looked_at());
    // Too little to be shown.
    run.change_losses = [&run, lower](const at::Tensor& losses) {
      const at::Tensor turns = at::arange(losses.numel(), losses.options()).remainder(2) - 0.5;
      const bool kept = bitwise_equal(weights_of(run), listed(run, "kept_average."));
      return kept ? 1 + turns * losses.numel() - lower : 1 - turns * losses.numel();
    };
    const std::vector<at::Tensor> start = weights_of(run);
    run.train(75);
    for (const json& look : events_of(run, "look")) {
      EXPECT_THAT(look.at("outcome").get<std::string>(), AnyOf("not_shown", "slowed_down"));
      EXPECT_EQ(look.at("reason").get<std::string>().rfind("not certain yet: ", 0), 0u);
    }
    run.train(25);
    const json last = events_of(run, "look").back();
    EXPECT_EQ(last.at("outcome"), lower > 0 ? "went_back" : "better");
    EXPECT_EQ(last.at("reason"), "the lower loss, where the run ends");
    EXPECT_EQ(bitwise_equal(weights_of(run), start), lower > 0);
    EXPECT_EQ(run.leaps->status().best_step, lower > 0 ? 0 : 100);
  }
}

TEST(FreeLook, LeaveTheUsualShareToThoseThatAreToCome) {
  // Of equal losses, which no number of sequences decides on.
  Options options = looked_at();
  options.controller.max_overhead = 294.0 / 4800;
  ToyRun run;
  run.wrap(options);
  int sign = 0;
  run.change_losses = [&](const at::Tensor& losses) {
    const at::Tensor turns = at::arange(losses.numel(), losses.options()).remainder(2) * 2 - 1;
    return 1 + 0.1 * turns * (++sign % 2 == 0 ? 1 : -1);
  };
  run.train(100);
  const std::vector<json> looks = events_of(run, "look");
  ASSERT_EQ(looks.size(), 3u);
  for (const json& look : looks) EXPECT_EQ(look.at("pairs"), 48);
  EXPECT_EQ(looks.front().at("reason"), "not certain yet: overhead cap reached");
}

TEST(FreeLook, GoesBackToTheStartWhereNothingIsBetter) {
  ToyRun run;
  run.wrap(looked_at());
  const std::vector<at::Tensor> start = weights_of(run);
  make_worse_than(run, start, 0, 10);
  run.train(7);
  EXPECT_TRUE(bitwise_equal(weights_of(run), start));
}

TEST(FreeLook, GoesBackFromWeightsThatAreNoNumbers) {
  ToyRun run;
  run.wrap(looked_at());
  run.train(30);
  const std::vector<at::Tensor> kept = listed(run, "kept_average.");
  {
    const torch::NoGradGuard no_grad;
    run.model->first->weight.fill_(kNaN);
  }
  run.train(26);
  EXPECT_TRUE(run.model->second->weight.isnan().any().item<bool>());
  run.train(1);
  EXPECT_TRUE(bitwise_equal(weights_of(run), kept));
  EXPECT_EQ(events_of(run, "look").back().at("reason"), "the loss of now is not finite");
  run.train(43);
  for (const at::Tensor& weight : weights_of(run)) {
    EXPECT_TRUE(weight.isfinite().all().item<bool>());
  }
  for (const at::Tensor& buffer : run.model->buffers()) {
    EXPECT_TRUE(buffer.isfinite().all().item<bool>()) << "batch norm's statistics go back too";
  }
  EXPECT_FALSE(bitwise_equal(weights_of(run), kept));
  EXPECT_EQ(run.leaps->status().off_reason, "");
}

TEST(FreeLook, WhereBothLossesAreNoNumbersThatIsSaidAndNothingChanges) {
  ToyRun run;
  run.wrap(looked_at());
  run.change_losses = [](const at::Tensor& losses) { return losses * kNaN; };
  run.train(24);
  const double before = rate_in_force(run);
  const std::size_t rates = events_of(run, "rate").size();
  run.train(1);
  EXPECT_THAT(events_of(run, "failure").back().at("reason").get<std::string>(),
              testing::HasSubstr("neither of the compared held-out losses is finite"));
  EXPECT_EQ(events_of(run, "failure").back().at("off"), false);
  EXPECT_GE(rate_in_force(run), before) << "it was not slowed down";
  EXPECT_LE(events_of(run, "rate").size(), rates + 1);
  EXPECT_TRUE(events_of(run, "look").empty());
  run.train(75);
}

TEST(FreeLook, WhatIsANumberTakesThePlaceOfWhatIsNone) {
  ToyRun run;
  run.wrap(looked_at());
  const std::vector<at::Tensor> start = weights_of(run);
  run.change_losses = [&run, start](const at::Tensor& losses) {
    return bitwise_equal(weights_of(run), start) ? losses * kNaN : losses;
  };
  run.train(7);
  EXPECT_EQ(events_of(run, "look").back().at("reason"), "the best loss is not finite");
  EXPECT_FALSE(bitwise_equal(listed(run, "kept_average."), start));
}

TEST(FreeLook, ALookOnTheWayUpToTheStrideSlowsNothingDown) {
  const auto rate_after_four = [](std::int64_t looks) {
    Options options = looked_at();
    options.rate.looks = looks;
    ToyRun run;
    run.wrap(options);
    run.change_losses = [](const at::Tensor& losses) { return losses * 0; };
    run.train(4);
    EXPECT_EQ(events_of(run, "look").size(), looks == 0 ? 0u : 4u);
    for (const json& look : events_of(run, "look")) EXPECT_EQ(look.at("outcome"), "not_shown");
    EXPECT_LT(json::parse(run.leaps->state().json).at("rate").at("reach"),
              policy::RateOptions::free_stride(100, false));
    return rate_in_force(run);
  };
  EXPECT_EQ(rate_after_four(100), rate_after_four(0));
}

TEST(FreeLook, TheLastIsAStepEarlierForEachThatStoodStill) {
  ToyRun run;
  run.wrap(looked_at());
  run.leaps->stand_still();
  run.train(60);
  run.leaps->stand_still();
  run.train(38);
  EXPECT_EQ(events_of(run, "look").back().at("step"), 98);
  const std::size_t looks = events_of(run, "look").size();
  run.train(5);
  EXPECT_EQ(events_of(run, "look").size(), looks) << "none in a run that goes on";
}

TEST(FreeLook, ARunThatWentBackIsResumedBitwise) {
  const Options options = looked_at();
  const at::Tensor start = ToyRun().model->first->weight.detach().clone();
  // At one look what lies further from the start is the worse.
  const auto train = [&](ToyRun& run, int steps) {
    run.change_losses = [&run, start](const at::Tensor& losses) {
      const at::Tensor gone = run.model->first->weight.detach() - start;
      return run.progress.data == 57 ? losses + 100 * gone.norm() : losses;
    };
    run.train(steps);
  };
  ToyRun whole;
  whole.wrap(options);
  train(whole, 100);
  std::vector<std::string> outcomes;
  for (const json& look : events_of(whole, "look")) outcomes.push_back(look.at("outcome"));
  EXPECT_THAT(outcomes, testing::Contains("went_back"));
  EXPECT_THAT(outcomes, testing::Contains("better"));
  for (const int stop : {1, 6, 7, 25, 40, 56, 57, 58, 99}) {
    expect_resumed_is(whole, options, stop, 100, train);
  }
}

TEST(FreeLook, AreAsManyAsTheCapPaysForAndEvenlySpaced) {
  const auto looks = [](double overhead) {
    Options options = looked_at();
    options.controller.max_overhead = overhead;
    ToyRun run;
    run.wrap(options);
    const TryCost cost = run.leaps->try_cost(kToyBatch);
    run.train(100);
    const auto steps = steps_of(events_of(run, "look"));
    EXPECT_EQ(cost.looks, static_cast<std::int64_t>(steps.size()));
    EXPECT_LE(run.leaps->status().ledger.forwards(), cost.allowed);
    return steps;
  };
  // A step costs 48 forwards, the canary 6, and a look of three helpings 96.
  EXPECT_THAT(looks(37.0 / 4800), IsEmpty());
  EXPECT_EQ(looks(0.01), (std::vector<std::int64_t>{100})) << "which may end undecided";
  EXPECT_EQ(looks(102.0 / 4800), (std::vector<std::int64_t>{100}));
  EXPECT_EQ(looks(198.0 / 4800), (std::vector<std::int64_t>{25, 100}));
  EXPECT_EQ(looks(294.0 / 4800), (std::vector<std::int64_t>{12, 45, 100}));
}

TEST(FreeLook, AnEvaluatorThatFailsEndsThemAndNotTheRun) {
  ToyRun unseen;
  unseen.wrap(not_looked_at());
  unseen.train(100);
  ToyRun run;
  run.wrap(looked_at());
  run.before_evaluation = [] { throw std::runtime_error("out of candles"); };
  run.train(100);
  EXPECT_NE(run.leaps->status().off_reason, "");
  EXPECT_EQ(events_of(run, "failure").size(), 3u);
  EXPECT_TRUE(bitwise_equal(unseen.everything(), run.everything()));
}

TEST(FreeLook, AStateWithoutThemIsGoneOnFrom) {
  ToyRun run;
  run.wrap(not_looked_at());
  run.train(40);
  const LeapVerifyState unseen = run.leaps->state();
  run.wrap(looked_at());
  run.leaps->restore(unseen);
  run.train(18);
  EXPECT_EQ(events_of(run, "look").back().at("best_step"), 40) << "it was kept when it began";
  const LeapVerifyState seen = run.leaps->state();
  run.wrap(not_looked_at());
  run.leaps->restore(seen);
  run.train(20);
  EXPECT_TRUE(listed(run, "kept_average.").empty());
}

TEST(FreeLook, RanksGoBackTogether) {
  std::vector<std::unique_ptr<ToyRun>> runs(2);
  std::mutex seeding;
  const std::vector<std::string> thrown = on_ranks(
      2,
      [&](ThreadRank& rank) {
        auto& run = runs[static_cast<std::size_t>(rank.rank())];
        {
          const std::lock_guard<std::mutex> lock(seeding);
          run = std::make_unique<ToyRun>();
        }
        // The threads share torch's generator.
        run->model->dropout->options.p(0);
        run->leaps = std::make_unique<LeapVerify>(
            *run->base, run->model, looked_at(), *run->evaluator,
            [&run](const std::string& event) { run->trace.push_back(event); }, nullptr, &rank);
        run->train(30);
        make_worse_than(*run, listed(*run, "kept_average."), 40, 10);
        run->train(30);
      },
      std::chrono::seconds(20));
  EXPECT_THAT(thrown, Each(IsEmpty()));
  EXPECT_TRUE(bitwise_equal(weights_of(*runs[0]), weights_of(*runs[1])));
  for (const auto& run : runs) {
    EXPECT_EQ(events_of(*run, "look").back().at("outcome"), "went_back");
  }
}

TEST(FreeLook, CarryTheLossesOfTheirPairsWhereTheseAreTraced) {
  Options options = looked_at();
  options.trace_losses = true;
  ToyRun run;
  run.wrap(options);
  run.train(100);
  for (const json& look : events_of(run, "look")) {
    for (const auto& [all, mean] :
         {std::pair("losses", "loss"), std::pair("best_losses", "best_loss")}) {
      const auto losses = look.at(all).get<std::vector<double>>();
      ASSERT_EQ(static_cast<std::int64_t>(losses.size()), look.at("pairs"));
      EXPECT_EQ(policy::summarize(losses).mean, look.at(mean));
    }
  }
  EXPECT_EQ(events_of(run, "look").size(), 4u);
}

TEST(FreeLook, TakeOneMoreCopyOfTheWeightsAndTwoOfTheBuffers) {
  ToyRun run;
  run.wrap(looked_at());
  const std::int64_t with = run.leaps->memory_bytes();
  run.wrap(not_looked_at());
  // That its first steps went too far would have shown by now.
  run.train(20);
  std::int64_t weights = 0;
  for (const at::Tensor& weight : run.model->parameters()) weights += 4 * weight.numel();
  for (const at::Tensor& buffer : run.model->buffers()) weights += 2 * buffer.nbytes();
  EXPECT_EQ(with - run.leaps->memory_bytes(), weights);
}

TEST(FreeLook, WantAFreeRateAndEnoughSequences) {
  Options options;
  options.rate.looks = 2;
  try {
    options.validate();
    FAIL() << "accepted";
  } catch (const InvalidOption& error) {
    EXPECT_EQ(error.field(), "rate.looks");
  }
  options = looked_at();
  options.verification.rule = policy::Rule::kStrict;
  EXPECT_THROW(options.validate(), InvalidOption);
  options = looked_at();
  options.probes = 8;
  EXPECT_THROW(options.validate(), InvalidOption) << "they would take what looks are paid with";
  options = looked_at();
  options.verification.max_sequences = 128;
  ToyRun run;
  try {
    run.wrap(options);
    FAIL() << "the toy has 128, and 144 are needed";
  } catch (const InvalidOption& error) {
    EXPECT_THAT(error.legal(),
                testing::HasSubstr("which verification.max_sequences bounds (112 would do)"));
  }
}

}  // namespace
}  // namespace leapverify

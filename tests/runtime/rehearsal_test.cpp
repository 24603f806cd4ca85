// Steps that are taken back leave no trace, and settled and raced comparisons see what they say.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/rehearsal.h>

#include <cmath>
#include <numeric>

#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class EveryOptimizerRehearsed : public testing::TestWithParam<const char*> {};

TEST_P(EveryOptimizerRehearsed, NothingButTheWeightsIsChangedAfterwards) {
  ToyRun run(GetParam());
  run.scheduled = true;
  run.train(7);
  const auto before = run.everything();
  const std::vector<double> rates = [&] {
    std::vector<double> out;
    for (const auto& group : run.base->param_groups()) out.push_back(group.options().get_lr());
    return out;
  }();
  const TensorList weights(run.model->parameters());
  const TensorList buffers(run.model->buffers());
  const TensorList saved = weights.allocate_like(TensorList::Precision::kSame);
  saved.copy_from(weights);
  std::vector<std::int64_t> versions;
  for (const at::Tensor& weight : weights.tensors()) versions.push_back(weight._version());
  {
    const Rehearsal rehearsal(*run.base, weights, buffers, nullptr, run);
    run.train(5);
    EXPECT_FALSE(bitwise_equal(before, run.everything()));
    EXPECT_EQ(run.progress.data, 12);
  }
  EXPECT_FALSE(torch::equal(weights.tensors()[0], saved.tensors()[0]));
  weights.copy_from(saved);
  EXPECT_TRUE(bitwise_equal(before, run.everything()));
  EXPECT_EQ(run.progress.data, 7);
  EXPECT_EQ(run.progress.schedule, 7);
  for (std::size_t i = 0; i < rates.size(); ++i) {
    EXPECT_EQ(run.base->param_groups()[i].options().get_lr(), rates[i]);
  }
  for (std::size_t i = 0; i < versions.size(); ++i) {
    EXPECT_EQ(weights.tensors()[i]._version(), versions[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryOptimizerRehearsed,
                         testing::Values("sgd", "adam", "adamw", "amsgrad", "rmsprop", "centered",
                                         "adagrad"),
                         [](const auto& instance) { return std::string(instance.param); });

Options rehearsing(policy::When when, Options options = eager_options()) {
  options.verification.when = when;
  options.verification.settle_steps = 4;
  return options;
}

/// A run whose losses at the end of every rehearsal are moved by `offset`.
void settle_by(ToyRun& run, double offset) {
  run.change_losses = [&run, offset](const at::Tensor& losses) {
    return run.progress.data > run.leaps->status().step ? losses + offset : losses;
  };
}

struct Setting {
  policy::When when;
  Reference reference;
};

class Rehearsing : public testing::TestWithParam<Setting> {
 protected:
  static Options options() {
    Options options = rehearsing(GetParam().when);
    options.reference = GetParam().reference;
    return options;
  }
};

TEST_P(Rehearsing, AllRejectedIsTheBaseOptimizerBitwise) {
  ToyRun bare;
  bare.scheduled = true;
  bare.train(140);
  ToyRun wrapped;
  wrapped.scheduled = true;
  wrapped.wrap(options());
  if (GetParam().when == policy::When::kRaced) reject_everything(wrapped);
  if (GetParam().when == policy::When::kSettled) settle_by(wrapped, 50);
  wrapped.train(140);
  EXPECT_TRUE(bitwise_equal(bare.everything(), wrapped.everything()));
  EXPECT_EQ(wrapped.progress.data, 140);
  EXPECT_GE(events_of(wrapped, "candidate").size(), 20u);
  EXPECT_EQ(wrapped.leaps->status().ledger.accepted, 0);
}

TEST_P(Rehearsing, AStepThatThrowsLeavesNoTrace) {
  ToyRun bare;
  bare.train(12);
  ToyRun wrapped;
  wrapped.wrap(options());
  int steps = 0;
  wrapped.before_backward = [&] {
    // The third rehearsed step of the first try, which comes after ten steps.
    if (++steps == 13) throw std::runtime_error("no such batch");
  };
  wrapped.train(12);
  EXPECT_TRUE(bitwise_equal(bare.everything(), wrapped.everything()));
  EXPECT_EQ(wrapped.progress.data, 12);
  const std::vector<json> failures = events_of(wrapped, "failure");
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].at("reason"), "no such batch");
}

INSTANTIATE_TEST_SUITE_P(All, Rehearsing,
                         testing::Values(Setting{policy::When::kSettled, Reference::kCurrent},
                                         Setting{policy::When::kSettled, Reference::kDenoised},
                                         Setting{policy::When::kRaced, Reference::kCurrent},
                                         Setting{policy::When::kRaced, Reference::kDenoised}),
                         [](const auto& instance) {
                           return std::string(name_of(instance.param.when)) + "_" +
                                  name_of(instance.param.reference);
                         });

/// Mean loss over `count` gate sequences from `first`, in evaluation mode.
double gate_loss(ToyRun& run, std::int64_t first, std::int64_t count) {
  const torch::NoGradGuard no_grad;
  run.model->eval();
  std::vector<std::int64_t> sequences(static_cast<std::size_t>(count));
  std::iota(sequences.begin(), sequences.end(), first);
  const at::Tensor losses = run.evaluator->evaluate(sequences, false).losses;
  run.model->train();
  return losses.to(at::kDouble).mean().item<double>();
}

TEST(Raced, BothBranchesAreTrainedOnTheSameBatchesAndComparedAtTheirEnds) {
  Options options = accepting_options();
  options.controller.horizons = {2};
  ToyRun raced;
  raced.wrap(rehearsing(policy::When::kRaced, options));
  raced.train(10);
  const json candidate = events_of(raced, "candidate").at(0);

  ToyRun leapt;
  leapt.wrap(options);
  leapt.train(10);
  ASSERT_EQ(events_of(leapt, "leap").at(0).at("outcome"), "committed");
  EXPECT_TRUE(bitwise_equal(raced.everything(), leapt.everything()))
      << "the leap is taken where the race began";
  leapt.leaps.reset();
  leapt.train(4);
  ToyRun bare;
  bare.train(14);
  EXPECT_NEAR(candidate.at("candidate_loss"), gate_loss(leapt, 8, 16), 1e-12);
  EXPECT_NEAR(candidate.at("reference_loss"), gate_loss(bare, 8, 16), 1e-12);
}

TEST(Raced, AtTheAverageEachBranchHasItsOwn) {
  Options options = accepting_options();
  options.controller.horizons = {2};
  options.reference = Reference::kDenoised;
  options.denoise_decay =
      0;  // The average is the weights, so the branches can be followed by hand.
  ToyRun raced;
  raced.wrap(rehearsing(policy::When::kRaced, options));
  raced.train(10);
  const json candidate = events_of(raced, "candidate").at(0);
  ToyRun leapt;
  leapt.wrap(options);
  leapt.train(10);
  leapt.leaps.reset();
  leapt.train(4);
  ToyRun bare;
  bare.train(14);
  EXPECT_NEAR(candidate.at("candidate_loss"), gate_loss(leapt, 8, 16), 1e-6);
  EXPECT_NEAR(candidate.at("reference_loss"), gate_loss(bare, 8, 16), 1e-6);
}

TEST(Raced, RehearsedStepsAreBooked) {
  Options options = rehearsing(policy::When::kRaced);
  options.controller.horizons = {2};
  ToyRun run;
  run.wrap(options);
  reject_everything(run);
  run.train(10);
  const json leap = events_of(run, "leap").at(0);
  const double race = 4 * run.evaluator->step_cost();
  EXPECT_EQ(leap.at("forwards"), 6 + 2 * (16 + race)) << "canary, then two branches of four steps";
  EXPECT_EQ(run.leaps->status().ledger.verification_forwards, leap.at("forwards"));
}

TEST(Settled, AcceptsOnlyBelowWhatForecastsReachByChance) {
  for (const bool falls : {true, false}) {
    ToyRun run;
    Options options = rehearsing(policy::When::kSettled);
    options.controller.horizons = {2};
    run.wrap(options);
    settle_by(run, falls ? -50 : 50);
    run.train(200);
    int judged = 0;
    for (const json& candidate : events_of(run, "candidate")) {
      if (candidate.at("limit") == "nan") {
        EXPECT_EQ(candidate.at("verdict"), "rejected");
        EXPECT_EQ(candidate.at("reason"), "too few forecasts to judge by");
        continue;
      }
      ++judged;
      EXPECT_EQ(candidate.at("verdict"), falls ? "accepted" : "rejected");
      EXPECT_EQ(candidate.at("candidate_loss") < candidate.at("limit"), falls);
    }
    EXPECT_GT(judged, 0);
  }
}

TEST(Settled, HoldsTheProbesLossAfterTheStepsAgainstItsForecast) {
  ToyRun run;
  Options options = rehearsing(policy::When::kSettled);
  options.controller.horizons = {2};
  run.wrap(options);
  run.train(10);
  const json candidate = events_of(run, "candidate").at(0);
  Options at_once = accepting_options();
  at_once.controller.horizons = {2};
  ToyRun leapt;
  leapt.wrap(at_once);
  leapt.train(10);
  leapt.leaps.reset();
  leapt.train(4);
  EXPECT_NEAR(candidate.at("candidate_loss"), gate_loss(leapt, 0, 8), 1e-12);
  const std::vector<json> observations = events_of(run, "observation");
  const double at_5 = observations.at(0).at("probe_loss");
  const double at_10 = observations.at(1).at("probe_loss");
  EXPECT_NEAR(candidate.at("reference_loss"), at_10 + (at_10 - at_5) * 4 / 5, 1e-12);
}

TEST(StepRunnerTest, IsAskedForWhereStepsAreRehearsedOrSkipped) {
  ToyRun run;
  for (int choice = 0; choice < 3; ++choice) {
    Options options = eager_options();
    if (choice == 0) options.verification.when = policy::When::kRaced;
    if (choice == 1) options.data = DataPolicy::kSkip;
    if (choice == 2) options.schedule = SchedulePolicy::kAdvance;
    try {
      const LeapVerify leaps(*run.base, run.model, options, *run.evaluator);
      FAIL() << "accepted choice " << choice;
    } catch (const InvalidOption& error) {
      EXPECT_THAT(error.what(), HasSubstr("without a StepRunner"));
    }
  }
}

}  // namespace
}  // namespace leapverify

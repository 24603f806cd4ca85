// Steps that are taken back leave no trace, and settled and raced comparisons see what they say.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/rehearsal.h>
#include <leapverify/runtime/torch_model.h>
#include <leapverify/runtime/torch_optimizer.h>

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
  const TensorList average = weights.allocate_like(TensorList::Precision::kAtLeastFloat32);
  average.tensors()[0].fill_(2);
  std::vector<std::int64_t> versions;
  for (const at::Tensor& weight : weights.tensors()) versions.push_back(weight._version());
  TorchOptimizer base(*run.base);
  const TorchModel model(*run.model);
  {
    Rehearsal rehearsal(base, model, weights, buffers, &average, run);
    run.train(5);
    EXPECT_FALSE(bitwise_equal(before, run.everything()));
    EXPECT_EQ(run.progress.data, 12);
    average.tensors()[0].fill_(3);
    rehearsal.end();
  }
  EXPECT_TRUE(bitwise_equal(average.tensors()[0], at::full_like(average.tensors()[0], 2)));
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
  expect_real_rejections(wrapped);
}

TEST_P(Rehearsing, AStepThatThrowsLeavesNoTrace) {
  ToyRun bare;
  bare.train(17);
  ToyRun wrapped;
  Options soon = options();
  soon.verification.alpha = 0.5;
  soon.controller.first_leap = 15;
  wrapped.wrap(soon);
  int steps = 0;
  wrapped.before_backward = [&] {
    // The last rehearsed step of the first race or settling.
    if (wrapped.progress.data > wrapped.leaps->status().step && ++steps == 3)
      throw std::runtime_error("no such batch");
  };
  wrapped.train(17);
  EXPECT_TRUE(bitwise_equal(bare.everything(), wrapped.everything()));
  EXPECT_EQ(wrapped.progress.data, 17);
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

/// The losses of a race are those of a run that leapt and of one that did not, some steps later.
void expect_race_of_both_branches(const Options& options, double tolerance) {
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
  EXPECT_NEAR(candidate.at("candidate_loss"), gate_loss(leapt, 8, 16), tolerance);
  EXPECT_NEAR(candidate.at("reference_loss"), gate_loss(bare, 8, 16), tolerance);
}

TEST(Raced, BothBranchesAreTrainedOnTheSameBatchesAndComparedAtTheirEnds) {
  Options options = accepting_options();
  options.controller.horizons = {2};
  expect_race_of_both_branches(options, 1e-12);
}

TEST(Raced, AtTheAverageEachBranchHasItsOwn) {
  Options options = accepting_options();
  options.controller.horizons = {2};
  options.reference = Reference::kDenoised;
  options.denoise_decay =
      0;  // The average is the weights, so the branches can be followed by hand.
  expect_race_of_both_branches(options, 1e-6);
}

TEST(Raced, StepsAreTakenAtTheRatesOfTheRealOnesWhereTheScheduleClimbs) {
  Options options = rehearsing(policy::When::kRaced);
  options.reference = Reference::kDenoised;
  options.denoise_decay = 0;
  options.on_accept = OnAccept::kBoth;
  options.controller.horizons = {15};
  ToyRun run;
  run.scheduled = true;
  run.rate_at = [](std::int64_t step) { return 1e-5 * static_cast<double>(step + 1); };
  run.wrap(options);
  run.change_losses = [count = 0](const at::Tensor& losses) mutable { return losses - count++; };
  run.train(10);
  ASSERT_GT(run.leaps->status().learning_rate_scale, 1);

  reject_everything(run);
  std::vector<at::Tensor> ends;
  run.before_evaluation = [&] {
    if (run.progress.data <= run.leaps->status().step) return;
    ends.push_back(run.model->first->weight.detach().clone());
  };
  run.train(5);
  ASSERT_EQ(events_of(run, "leap").back().at("outcome"), "rejected");
  ASSERT_FALSE(ends.empty());
  run.train(4);
  EXPECT_TRUE(bitwise_equal(ends.front(), run.model->first->weight));
}

TEST(Raced, ARejectedRaceLeavesTheAverageAsItWas) {
  Options options = rehearsing(policy::When::kRaced);
  options.reference = Reference::kDenoised;
  options.denoise_decay = 0.9;
  ToyRun raced;
  raced.wrap(options);
  reject_everything(raced);
  raced.train(30);
  EXPECT_GT(raced.leaps->status().ledger.tries, 2);
  options.controller.first_leap = 1000;
  ToyRun never;
  never.wrap(options);
  never.train(30);
  const auto averages = [](const ToyRun& run) {
    std::vector<std::pair<std::string, at::Tensor>> out;
    for (const auto& item : run.leaps->state().tensors) {
      if (item.first.rfind("average.", 0) == 0) out.push_back(item);
    }
    return out;
  };
  EXPECT_FALSE(averages(raced).empty());
  EXPECT_TRUE(bitwise_equal(averages(raced), averages(never)));
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
      if (!candidate.contains("limit")) {
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
  // One known error is enough, and at the third observation there is one.
  options.verification.alpha = 0.5;
  options.controller.first_leap = 15;
  run.wrap(options);
  run.train(15);
  const json candidate = events_of(run, "candidate").at(0);
  Options at_once = accepting_options();
  at_once.controller.horizons = {2};
  at_once.controller.first_leap = 15;
  ToyRun leapt;
  leapt.wrap(at_once);
  leapt.train(15);
  leapt.leaps.reset();
  leapt.train(4);
  EXPECT_NEAR(candidate.at("candidate_loss"), gate_loss(leapt, 0, 8), 1e-12);
  const std::vector<json> observations = events_of(run, "observation");
  const auto loss_at = [&](std::size_t i) -> double { return observations.at(i).at("probe_loss"); };
  const double mean = (loss_at(0) + loss_at(1) + loss_at(2)) / 3;
  const double slope = (loss_at(2) - loss_at(0)) / 10;
  EXPECT_NEAR(candidate.at("reference_loss"), mean + slope * (19 - 10), 1e-12);
  // The error: what the loss at 15 was forecast to be from those at 5 and 10.
  const double error = loss_at(1) + (loss_at(1) - loss_at(0)) - loss_at(2);
  EXPECT_NEAR(candidate.at("limit"), candidate.at("reference_loss").get<double>() - error, 1e-12);
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

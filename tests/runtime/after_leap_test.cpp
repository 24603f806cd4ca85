// What follows a committed leap: batch norm's statistics, schedule and data.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_verify.h>

#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using nlohmann::json;

/// Leaps once, of `horizon` steps at step 10; observations are 5 steps apart.
Options one_leap(BatchNormPolicy batch_norm, std::int64_t horizon = 5) {
  Options options = accepting_options();
  options.controller.horizons = {horizon};
  options.batch_norm = batch_norm;
  return options;
}

struct Statistics {
  at::Tensor mean, variance, count;

  explicit Statistics(const ToyRun& run)
      : mean(run.model->norm->running_mean.clone()),
        variance(run.model->norm->running_var.clone()),
        count(run.model->norm->num_batches_tracked.clone()) {}
};

class EveryBatchNormPolicy : public testing::TestWithParam<BatchNormPolicy> {};

TEST_P(EveryBatchNormPolicy, AllRejectedIsTheBaseOptimizerBitwise) {
  for (const Reference reference : {Reference::kCurrent, Reference::kDenoised}) {
    ToyRun bare;
    bare.train(120);
    ToyRun wrapped;
    Options options = eager_options();
    options.batch_norm = GetParam();
    options.reference = reference;
    wrapped.wrap(options);
    wrapped.change_losses = [&](const at::Tensor& losses) {
      // Statistics being recomputed are no evaluation that counts.
      return wrapped.model->norm->is_training() ? losses : losses + wrapped.evaluations;
    };
    wrapped.train(120);
    EXPECT_TRUE(bitwise_equal(bare.everything(), wrapped.everything())) << name_of(reference);
    EXPECT_GE(events_of(wrapped, "candidate").size(), 20u);
    EXPECT_EQ(wrapped.leaps->status().ledger.accepted, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryBatchNormPolicy,
                         testing::Values(BatchNormPolicy::kKeep, BatchNormPolicy::kExtrapolate,
                                         BatchNormPolicy::kRecompute),
                         [](const auto& instance) { return name_of(instance.param); });

TEST(BatchNorm, KeptStatisticsAreThoseOfTraining) {
  ToyRun bare;
  bare.train(10);
  ToyRun run;
  run.wrap(one_leap(BatchNormPolicy::kKeep));
  run.train(10);
  ASSERT_EQ(events_of(run, "leap").at(0).at("outcome"), "committed");
  EXPECT_TRUE(bitwise_equal(Statistics(run).mean, Statistics(bare).mean));
  EXPECT_TRUE(bitwise_equal(Statistics(run).variance, Statistics(bare).variance));
}

TEST(BatchNorm, ExtrapolatedStatisticsFollowTheWeightsAndStayVariances) {
  ToyRun bare;
  bare.train(5);
  const Statistics at_5(bare);
  bare.train(5);
  const Statistics at_10(bare);
  for (const std::int64_t horizon : {5, 500}) {
    ToyRun run;
    run.wrap(one_leap(BatchNormPolicy::kExtrapolate, horizon));
    run.train(10);
    ASSERT_EQ(events_of(run, "leap").at(0).at("outcome"), "committed");
    const double reach = static_cast<double>(horizon) / 5;
    const Statistics landed(run);
    const at::Tensor mean = at_10.mean + (at_10.mean - at_5.mean) * reach;
    const at::Tensor variance = at_10.variance + (at_10.variance - at_5.variance) * reach;
    EXPECT_TRUE(torch::allclose(landed.mean, mean, 1e-4, 1e-5));
    EXPECT_TRUE(torch::allclose(landed.variance, variance.clamp_min(0), 1e-4, 1e-4));
    EXPECT_EQ((variance < 0).any().item<bool>(), horizon == 500) << "the clamp is put to the test";
    EXPECT_TRUE(torch::equal(landed.count, at_10.count)) << "counts are not extrapolated";
  }
}

TEST(BatchNorm, RecomputedStatisticsAreTheMeanOverAPassAtTheNewWeights) {
  ToyRun run;
  run.wrap(one_leap(BatchNormPolicy::kRecompute));
  run.train(10);
  ASSERT_EQ(events_of(run, "leap").at(0).at("outcome"), "committed");
  const torch::NoGradGuard no_grad;
  // 16 gate sequences in one forward pass, those after the eight probes.
  const at::Tensor features = run.model->first(toy_inputs(999, 128).narrow(0, 8, 16));
  const Statistics landed(run);
  EXPECT_TRUE(torch::allclose(landed.mean, features.mean(0), 1e-5, 1e-6));
  EXPECT_TRUE(torch::allclose(landed.variance, features.var(0), 1e-5, 1e-6));
  EXPECT_EQ(run.model->norm->options.momentum(), 0.1);
  EXPECT_TRUE(run.model->norm->is_training());
}

TEST(BatchNorm, RecomputingIsBookedAndKeptWithinTheCap) {
  ToyRun run;
  Options options = one_leap(BatchNormPolicy::kRecompute);
  options.planned_steps = 100;
  options.controller.max_overhead = 0.05;
  options.controller.savings_share = 0;
  run.wrap(options);
  run.tamper_with_canary = true;
  std::int64_t seen = 0;
  run.change_losses = [&seen](const at::Tensor& losses) {
    seen += losses.size(0);
    return losses;
  };
  run.train(100);
  EXPECT_GT(run.leaps->status().ledger.tries, 0);
  EXPECT_EQ(run.leaps->status().ledger.forwards(), seen);
  EXPECT_LE(static_cast<double>(seen), 0.05 * 100 * run.evaluator->step_cost());
}

TEST(AfterALeap, ScheduleAndDataGoOnOrFollow) {
  for (const bool advance : {false, true}) {
    for (const bool skip : {false, true}) {
      ToyRun run;
      run.scheduled = true;
      Options options = one_leap(BatchNormPolicy::kKeep, 7);
      options.schedule = advance ? SchedulePolicy::kAdvance : SchedulePolicy::kKeep;
      options.data = skip ? DataPolicy::kSkip : DataPolicy::kKeep;
      run.wrap(options);
      run.train(10);
      ASSERT_EQ(events_of(run, "leap").at(0).at("outcome"), "committed");
      EXPECT_EQ(run.progress.schedule, advance ? 17 : 10);
      EXPECT_EQ(run.progress.data, skip ? 17 : 10);
      run.train(1);
      EXPECT_EQ(run.base->param_groups()[0].options().get_lr(), run.rate_at(advance ? 17 : 10));
    }
  }
}

TEST(BatchNorm, FrozenStatisticsStayAndEvaluatorsThatSwitchModesAreFoundOut) {
  ToyRun frozen;
  frozen.wrap(one_leap(BatchNormPolicy::kRecompute));
  frozen.model->norm->eval();
  const Statistics before(frozen);
  frozen.train(10);
  ASSERT_EQ(events_of(frozen, "leap").at(0).at("outcome"), "committed");
  EXPECT_TRUE(torch::equal(Statistics(frozen).mean, before.mean));
  EXPECT_FALSE(frozen.model->norm->is_training());

  ToyRun bare;
  bare.train(10);
  ToyRun switching;
  switching.wrap(one_leap(BatchNormPolicy::kRecompute));
  switching.before_evaluation = [&] { switching.model->eval(); };
  switching.train(10);
  ASSERT_EQ(events_of(switching, "failure").size(), 1u);
  EXPECT_TRUE(bitwise_equal(bare.everything(), switching.everything()));
}

TEST(AfterALeap, WhatAUsersFunctionRefusesTakesTheLeapBack) {
  ToyRun bare;
  bare.train(10);
  ToyRun run;
  Options options = one_leap(BatchNormPolicy::kKeep);
  options.data = DataPolicy::kSkip;
  options.reference = Reference::kDenoised;
  run.wrap(options);
  run.refuse_seek = true;
  run.train(10);
  ASSERT_EQ(events_of(run, "failure").size(), 1u);
  EXPECT_EQ(events_of(run, "failure")[0].at("reason"), "no more data");
  EXPECT_TRUE(bitwise_equal(bare.everything(), run.everything()));
  EXPECT_EQ(run.leaps->status().ledger.accepted, 0);
}

TEST(AfterALeap, RejectedLeapMovesNeither) {
  ToyRun run;
  Options options = eager_options();
  options.schedule = SchedulePolicy::kAdvance;
  options.data = DataPolicy::kSkip;
  run.wrap(options);
  reject_everything(run);
  run.train(30);
  EXPECT_EQ(run.progress.data, 30);
  EXPECT_EQ(run.progress.schedule, 30);
}

}  // namespace
}  // namespace leapverify

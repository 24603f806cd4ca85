// The three promises of the wrapper, bitwise: off is the base optimizer, a rejected leap leaves no
// trace, a resumed run goes on as if uninterrupted.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_transaction.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/momentum.h>
#include <leapverify/runtime/policy/statistics.h>
#include <leapverify/runtime/torch_optimizer.h>

#include <nlohmann/json.hpp>

#include "runtime/resumed.h"
#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class EveryOptimizer : public testing::TestWithParam<const char*> {};

TEST_P(EveryOptimizer, DisabledIsTheBaseOptimizerBitwise) {
  ToyRun bare(GetParam());
  bare.train(60);
  const auto expected = bare.everything();
  ToyRun wrapped(GetParam());
  Options options = eager_options();
  options.enabled = false;
  wrapped.wrap(options);
  wrapped.train(60);
  EXPECT_TRUE(bitwise_equal(expected, wrapped.everything()));
  EXPECT_EQ(wrapped.evaluations, 0);
}

TEST_P(EveryOptimizer, AllLeapsRejectedIsTheBaseOptimizerBitwise) {
  ToyRun bare(GetParam());
  bare.train(220);
  const auto expected = bare.everything();
  ToyRun wrapped(GetParam());
  wrapped.wrap(eager_options());
  reject_everything(wrapped);
  wrapped.train(220);
  EXPECT_TRUE(bitwise_equal(expected, wrapped.everything()));
  expect_real_rejections(wrapped);
}

INSTANTIATE_TEST_SUITE_P(All, EveryOptimizer,
                         testing::Values("sgd", "adam", "adamw", "rmsprop", "adagrad"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST(LeapVerify, CanaryKeepsLeapsOffWhereTheEvaluatorDoesNotAnswerForTheWeights) {
  ToyRun bare;
  bare.train(60);
  const auto expected = bare.everything();
  const std::vector<std::pair<const char*, std::function<at::Tensor(const at::Tensor&)>>> faults = {
      {"stay the same when all weights change",
       [](const at::Tensor& losses) { return at::full_like(losses, 3.0); }},
      {"differ between two calls with the same weights",
       [n = 0](const at::Tensor& losses) mutable { return losses + 1e-6 * n++; }}};
  for (const auto& [words, fault] : faults) {
    ToyRun run;
    run.wrap(accepting_options());
    run.change_losses = fault;
    run.tamper_with_canary = true;
    run.train(60);
    EXPECT_TRUE(bitwise_equal(expected, run.everything())) << words;
    EXPECT_TRUE(events_of(run, "candidate").empty());
    const std::vector<json> failures = events_of(run, "failure");
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_THAT(failures[0].at("reason").get<std::string>(), HasSubstr(words));
    EXPECT_EQ(failures[0].at("off"), true);
    EXPECT_EQ(failures[0].at("forwards"), 6);
    EXPECT_THAT(run.leaps->status().off_reason, HasSubstr(words));
  }
}

TEST(LeapVerify, CanaryIsAskedOnceInARun) {
  ToyRun run;
  run.wrap(eager_options());
  run.tamper_with_canary = true;
  int canaries = 0;
  run.change_losses = [&](const at::Tensor& losses) {
    canaries += losses.size(0) == 2 ? 1 : 0;
    return losses;
  };
  run.train(60);
  EXPECT_GT(events_of(run, "candidate").size(), 5u);
  EXPECT_EQ(canaries, 3);
}

TEST(LeapVerify, EveryPredictorRollsBackBitwise) {
  ToyRun bare;
  bare.train(60);
  const auto expected = bare.everything();
  for (const auto& predictor : EnumNames<policy::PredictorKind>::names) {
    ToyRun wrapped;
    Options options = eager_options();
    options.predictor.kind = predictor.value;
    wrapped.wrap(options);
    reject_everything(wrapped);
    wrapped.train(60);
    EXPECT_TRUE(bitwise_equal(expected, wrapped.everything())) << predictor.name;
    EXPECT_GE(events_of(wrapped, "candidate").size(), 5u) << predictor.name;
  }
}

TEST(LeapVerify, ShadowAcceptsInTheTraceAndCommitsNothing) {
  ToyRun bare;
  bare.train(60);
  const auto expected = bare.everything();
  ToyRun wrapped;
  Options options = eager_options();
  options.mode = Mode::kShadow;
  options.verification.rule = policy::Rule::kProximity;
  options.verification.proximity_tolerance = 1e9;
  wrapped.wrap(options);
  wrapped.train(60);
  EXPECT_TRUE(bitwise_equal(expected, wrapped.everything()));
  EXPECT_GT(wrapped.leaps->status().ledger.accepted, 0);
  EXPECT_EQ(wrapped.leaps->status().ledger.steps_saved, 0);
  for (const json& leap : events_of(wrapped, "leap")) EXPECT_EQ(leap.at("outcome"), "shadow");
}

TEST(LeapVerify, AcceptedLeapLandsOnThePredictionInPlace) {
  ToyRun bare;
  bare.train(5);
  const at::Tensor before = bare.model->first->weight.detach().clone();
  bare.train(5);
  const at::Tensor now = bare.model->first->weight.detach().clone();
  ToyRun run;
  Options options = accepting_options();
  options.controller.horizons = {5};
  run.wrap(options);
  const at::Tensor weight = run.model->first->weight;
  const void* address = weight.data_ptr();
  run.train(10);
  const json leap = events_of(run, "leap").at(0);
  EXPECT_EQ(leap.at("outcome"), "committed");
  EXPECT_EQ(leap.at("horizon"), 5);
  EXPECT_NE(leap.at("digest_after"), leap.at("digest_before"));
  // Horizon 5 at spacing 5: 2θ_0 − θ_1.
  EXPECT_TRUE(torch::allclose(weight.detach(), 2 * now - before, 1e-5, 1e-6));
  EXPECT_EQ(weight.data_ptr(), address);
}

TEST(LeapVerify, MomentumLandsWhereConstantGradientsWouldLead) {
  // With the same gradient at every step Adam's and SGD's moments settle, and every further step is
  // the same: K of them lead where the prediction does.
  for (const char* name : {"adamw", "adam", "amsgrad", "sgd"}) {
    ToyRun run(name);
    const auto step_with_constant_gradients = [&run](int steps) {
      for (int i = 0; i < steps; ++i) {
        for (const at::Tensor& parameter : run.model->parameters()) {
          parameter.mutable_grad() = at::ones_like(parameter);
        }
        run.base->step();
      }
    };
    step_with_constant_gradients(300);
    for (auto& group : run.base->param_groups()) group.options().set_lr(1e-3);
    const TensorList weights(run.model->parameters());
    const TensorList backup = weights.allocate_like(TensorList::Precision::kSame);
    std::vector<at::Tensor> predicted;
    {
      LeapTransaction transaction(weights, backup);
      EXPECT_EQ(transaction.write(momentum_ahead(TorchOptimizer(*run.base), 5, /*half=*/false)), 0);
      for (const at::Tensor& tensor : weights.tensors()) {
        predicted.push_back(tensor.detach().clone());
      }
    }
    const at::Tensor before = weights.tensors()[0].detach().clone();
    step_with_constant_gradients(5);
    for (std::size_t i = 0; i < predicted.size(); ++i) {
      EXPECT_TRUE(torch::allclose(weights.tensors()[i].detach(), predicted[i], 1e-4, 1e-6))
          << name << ", tensor " << i;
    }
    EXPECT_GT((predicted[0] - before).abs().min().item<double>(), 1e-3) << name;
  }
}

TEST(LeapVerify, HalfPrecisionMomentsReproduceTheCatastrophe) {
  const auto ratio = [](bool half) {
    ToyRun run;
    Options options = accepting_options();
    options.predictor.kind = policy::PredictorKind::kMomentum;
    options.predictor.half_moments = half;
    options.mode = Mode::kShadow;
    options.verification.proximity_tolerance = 1e30;
    run.wrap(options);
    run.clip = 1e-4;  // second moments below the smallest float16
    run.train(20);
    const json candidate = events_of(run, "candidate").at(0);
    return candidate.at("candidate_loss").get<double>() /
           candidate.at("reference_loss").get<double>();
  };
  EXPECT_LT(ratio(false), 2);
  EXPECT_GT(ratio(true), 100);
}

TEST(LeapVerify, MomentumIsRefusedWithoutMoments) {
  Options options = eager_options();
  options.predictor.kind = policy::PredictorKind::kMomentum;
  for (const char* name : {"rmsprop", "adagrad"}) {
    ToyRun run(name);
    EXPECT_THROW(run.wrap(options), InvalidOption) << name;
  }
}

TEST(LeapVerify, CommitBumpsVersionsAndRejectionDoesNot) {
  for (const bool accept : {true, false}) {
    ToyRun run;
    run.wrap(accept ? accepting_options() : eager_options());
    if (!accept) reject_everything(run);
    run.train(9);
    const torch::Tensor x = toy_inputs(9, kToyBatch);
    run.base->zero_grad();
    torch::mse_loss(run.model->forward(x), toy_target(x)).backward();
    ToyRun bare;
    bare.train(9);
    const auto version_before = run.model->first->weight._version();
    const auto bare_before = bare.model->first->weight._version();
    bare.train(1);
    run.leaps->step();
    const auto by_step = bare.model->first->weight._version() - bare_before;
    const auto by_both = run.model->first->weight._version() - version_before;
    EXPECT_EQ(by_both, by_step + (accept ? 1 : 0));
    ASSERT_EQ(events_of(run, "leap").size(), 1u);
  }
}

TEST(LeapVerify, HistoryBeginsAnewAfterALeap) {
  ToyRun run;
  Options options = accepting_options();
  options.predictor.kind = policy::PredictorKind::kQuadratic;
  run.wrap(options);
  run.train(30);
  std::vector<std::int64_t> steps;
  for (const json& leap : events_of(run, "leap")) steps.push_back(leap.at("step"));
  // Three snapshots at 5, 10, 15; then the landing point itself counts as the first of three.
  EXPECT_THAT(steps, testing::ElementsAre(15, 25));
  EXPECT_EQ(events_of(run, "failure").size(), 0u);
}

TEST(LeapVerify, RegimeMustBeSeenAnewAfterALeap) {
  ToyRun run;
  Options options = accepting_options();
  options.controller.least_regime = Regime::kStable;
  options.detector.thresholds = ThresholdKind::kFixed;
  options.detector.stable_at_least = -0.9;
  options.detector.chaotic_at_most = -1;
  options.detector.hysteresis = 2;
  run.wrap(options);
  run.train(30);
  std::vector<std::int64_t> steps;
  for (const json& leap : events_of(run, "leap")) steps.push_back(leap.at("step"));
  // Signals come from the second observation on, and two in a row must be stable.
  EXPECT_THAT(steps, testing::ElementsAre(15, 30));
}

TEST(LeapVerify, FallOfTheLossIsFittedBetweenLeaps) {
  ToyRun run;
  Options options = accepting_options();
  options.predictor.kind = policy::PredictorKind::kQuadratic;
  run.wrap(options);
  run.change_losses = [probe = 0](const at::Tensor& losses) mutable {
    constexpr double kProbeLosses[] = {10, 9.9, 9.8, 9.7, 9.2};
    const bool is_probe = losses.size(0) == 8;
    return is_probe ? at::full_like(losses, kProbeLosses[probe++]) : losses;
  };
  run.train(25);
  const std::vector<json> leaps = events_of(run, "leap");
  ASSERT_EQ(leaps.size(), 2u);
  EXPECT_NEAR(leaps[0].at("fall_per_step").get<double>(), 0.1 / 5, 1e-6);
  EXPECT_NEAR(leaps[1].at("fall_per_step").get<double>(), 0.5 / 5, 1e-6);
}

TEST(LeapVerify, OvershootIsUndoneToTheLastWinner) {
  // Accept horizon 2, reject horizon 5; the result must be bitwise that of trying horizon 2 alone.
  const auto run_with = [](std::vector<std::int64_t> horizons) {
    auto run = std::make_unique<ToyRun>();
    Options options = eager_options();
    options.controller.horizons = std::move(horizons);
    run->wrap(options);
    int evaluation = 0;
    // From step 10 on: probe, reference (accept all below), candidate 2, candidate 5.
    run->change_losses = [evaluation](const at::Tensor& losses) mutable {
      constexpr double kOffsets[] = {0, 0, 9, 8, 99, 9, 8};
      return at::full_like(losses, kOffsets[std::min(evaluation++, 6)]);
    };
    run->train(10);
    return run;
  };
  const auto both = run_with({2, 5});
  const auto alone = run_with({2});
  EXPECT_EQ(events_of(*both, "candidate").size(), 2u);
  EXPECT_EQ(events_of(*both, "leap").at(0).at("horizon"), 2);
  EXPECT_TRUE(bitwise_equal(both->everything(), alone->everything()));
}

TEST(LeapVerify, EvaluatorThatThrowsLeavesNoTraceAndTurnsLeapsOffAfterThreeTimes) {
  ToyRun bare;
  bare.train(100);
  const auto expected = bare.everything();
  // The third evaluation of a try (a candidate's) and every evaluation from step 50 on.
  for (const int fail_at : {3, 4, 5}) {
    ToyRun wrapped;
    wrapped.wrap(eager_options());
    wrapped.before_evaluation = [&wrapped, fail_at] {
      torch::rand({3});
      torch::rand({3}, toy_device());
      if (wrapped.evaluations >= fail_at) throw std::runtime_error("out of candles");
    };
    wrapped.train(100);
    EXPECT_TRUE(bitwise_equal(expected, wrapped.everything())) << "failing from " << fail_at;
    const std::vector<json> failures = events_of(wrapped, "failure");
    ASSERT_EQ(failures.size(), 3u);
    EXPECT_EQ(failures[0].at("reason"), "out of candles");
    EXPECT_EQ(failures[2].at("off"), true);
    EXPECT_EQ(wrapped.leaps->status().off_reason, "out of candles");
  }
}

TEST(LeapVerify, TriesThatAlwaysFailTurnLeapsOffThoughProbesWork) {
  ToyRun run;
  run.wrap(eager_options());
  run.change_losses = [](const at::Tensor& losses) -> at::Tensor {
    if (losses.size(0) > 8) throw std::runtime_error("too many sequences");
    return losses;
  };
  run.train(60);
  EXPECT_EQ(run.leaps->status().off_reason, "too many sequences");
  EXPECT_EQ(events_of(run, "failure").size(), 3u);
}

TEST(LeapVerify, LossesThatAreNotFiniteWhereTrainingIsAreToldAndTriesGoOn) {
  ToyRun run;
  run.wrap(eager_options());
  int broken = 0;
  run.change_losses = [&](const at::Tensor& losses) {
    const bool breaks = run.evaluations > 20 && broken < 12;
    if (breaks) ++broken;
    return breaks ? losses / 0 : losses;
  };
  run.train(200);
  EXPECT_EQ(run.leaps->status().off_reason, "");
  const std::vector<json> failures = events_of(run, "failure");
  ASSERT_GT(failures.size(), 3u);
  EXPECT_THAT(failures[0].at("reason").get<std::string>(),
              HasSubstr("not finite where training is"));
  EXPECT_GT(events_of(run, "leap").back().at("step"), failures.back().at("step"));
}

TEST(LeapVerify, WordsOfTorchsErrorsComeWithoutTheStackTrace) {
  ToyRun run;
  run.wrap(eager_options());
  run.before_evaluation = [] { at::zeros({2}).view({3}); };
  run.train(5);
  const std::string reason = events_of(run, "failure").at(0).at("reason");
  EXPECT_THAT(reason, HasSubstr("shape '[3]' is invalid"));
  EXPECT_THAT(reason, testing::Not(HasSubstr("frame")));
}

TEST(LeapVerify, WordsThatAreNoTextDoNotKeepTheRunFromBeingSaved) {
  ToyRun run;
  run.wrap(eager_options());
  run.before_evaluation = [] { throw std::runtime_error("\xff\xfe"); };
  run.train(60);
  EXPECT_EQ(run.leaps->status().off_reason, "??");
  EXPECT_NO_THROW(run.leaps->state());
}

TEST(LeapVerify, ActivationsMustBeFloating) {
  ToyRun run;
  run.wrap(eager_options());
  run.integer_activations = true;
  run.train(5);
  EXPECT_THAT(events_of(run, "failure").at(0).at("reason").get<std::string>(),
              HasSubstr("activations must be floating, got Long"));
}

TEST(LeapVerify, GapsLeftByTheCapDoNotMixIntoThePrediction) {
  ToyRun run;
  Options options = accepting_options();
  options.predictor.kind = policy::PredictorKind::kQuadratic;
  options.mode = Mode::kShadow;
  options.controller.max_overhead = 0.3;  // of the steps so far: probes pause and resume
  run.wrap(options);
  run.train(400);
  EXPECT_GT(events_of(run, "leap").size(), 0u);
  EXPECT_EQ(events_of(run, "failure").size(), 0u);
}

TEST(LeapVerify, TolerantRulesCompareEveryLinkWithTheSameReference) {
  ToyRun run;
  Options options = accepting_options();
  options.controller.horizons = {1, 2, 3, 4};
  run.wrap(options);
  run.train(10);
  const std::vector<json> candidates = events_of(run, "candidate");
  ASSERT_EQ(candidates.size(), 4u);
  for (const json& candidate : candidates) {
    EXPECT_EQ(candidate.at("reference_loss"), candidates[0].at("reference_loss"));
  }
}

TEST(LeapVerify, StrictRuleComparesEveryLinkWithTheLastWinner) {
  ToyRun run;
  run.wrap(eager_options());
  // Probes at 5 and 10, then reference, first candidate, second: better than the reference only.
  run.change_losses = [evaluation = 0](const at::Tensor& losses) mutable {
    constexpr double kLosses[] = {0, 0, 9, 8, 8.5, 0, 0};
    return at::full_like(losses, kLosses[std::min(evaluation++, 6)]);
  };
  run.train(10);
  const std::vector<json> candidates = events_of(run, "candidate");
  ASSERT_EQ(candidates.size(), 2u);
  EXPECT_EQ(candidates[0].at("verdict"), "accepted");
  EXPECT_EQ(candidates[1].at("verdict"), "rejected");
  EXPECT_EQ(candidates[1].at("reference_loss"), 8);
}

/// Options under which the sequential rule decides, eight sequences at a time.
Options sequential_options() {
  Options options = eager_options();
  options.verification.rule = policy::Rule::kSequential;
  options.verification.sequences = 8;
  options.verification.max_sequences = 64;
  return options;
}

/// Adds `offset` to the losses at candidates: wherever the weights are not those of the last probe.
void shift_candidates(ToyRun& run, double offset) {
  run.change_losses = [&run, offset, probed = at::Tensor(),
                       step = std::int64_t{-1}](const at::Tensor& losses) mutable {
    const at::Tensor weight = run.model->first->weight.detach();
    if (step != run.progress.data) probed = weight.clone();  // the first evaluation after a step
    step = run.progress.data;
    return torch::equal(weight, probed) ? losses : losses + offset;
  };
}

TEST(LeapVerify, AnEvaluationThatThrowsAtAnyPointLeavesNoTrace) {
  ToyRun bare;
  bare.train(40);
  const auto expected = bare.everything();
  for (const Reference reference : {Reference::kCurrent, Reference::kDenoised}) {
    Options options = eager_options();
    options.reference = reference;
    for (int fail_at = 1; fail_at <= 24; ++fail_at) {
      ToyRun wrapped;
      wrapped.tamper_with_canary = true;
      wrapped.wrap(options);
      // Losses that grow from call to call reject every candidate; not those of the canary.
      wrapped.change_losses = [&wrapped](const at::Tensor& losses) {
        return losses.size(0) == 2 ? losses : losses + static_cast<double>(wrapped.evaluations);
      };
      bool thrown = false;
      wrapped.before_evaluation = [&] {
        torch::rand({3});
        torch::rand({3}, toy_device());
        thrown = thrown || wrapped.evaluations == fail_at;
        if (wrapped.evaluations == fail_at) throw std::runtime_error("once");
      };
      wrapped.train(40);
      ASSERT_TRUE(thrown) << fail_at;
      EXPECT_TRUE(bitwise_equal(expected, wrapped.everything()))
          << name_of(reference) << ", failing at " << fail_at;
      EXPECT_EQ(events_of(wrapped, "failure").size(), 1u);
    }
  }
}

TEST(LeapVerify, SequentialRuleRejectsWithoutATrace) {
  ToyRun bare;
  bare.train(120);
  const auto expected = bare.everything();
  ToyRun run;
  run.wrap(sequential_options());
  shift_candidates(run, 5);
  run.train(120);
  EXPECT_TRUE(bitwise_equal(expected, run.everything()));
  const std::vector<json> candidates = events_of(run, "candidate");
  EXPECT_GE(candidates.size(), 20u);
  for (const json& candidate : candidates) {
    EXPECT_EQ(candidate.at("verdict"), "rejected");
    EXPECT_GE(candidate.at("capital_against").get<double>(), 20);
    EXPECT_GE(candidate.at("pairs").get<int>(), 14);
    EXPECT_LT(candidate.at("pairs").get<int>(), 64) << "it stops early";
  }
}

TEST(LeapVerify, SequentialRuleComparesEachLinkWithTheLastWinnerAtItsOwnWeights) {
  ToyRun run;
  run.wrap(sequential_options());
  shift_candidates(run, -5);
  run.train(10);
  const std::vector<json> candidates = events_of(run, "candidate");
  ASSERT_EQ(candidates.size(), 2u);
  EXPECT_EQ(candidates[0].at("verdict"), "accepted");
  // Both links stand at candidates, so the second gains next to nothing over the first.
  EXPECT_GT(candidates[0].at("reference_loss").get<double>() -
                candidates[1].at("reference_loss").get<double>(),
            4);
  EXPECT_EQ(events_of(run, "leap").at(0).at("outcome"), "committed");
}

TEST(LeapVerify, SequentialRuleBooksEveryForwardPass) {
  ToyRun run;
  run.wrap(sequential_options());
  run.tamper_with_canary = true;
  std::int64_t seen = 0;
  run.change_losses = [&seen](const at::Tensor& losses) {
    seen += losses.size(0);
    return losses;
  };
  run.train(60);
  EXPECT_EQ(run.leaps->status().ledger.forwards(), seen);
  EXPECT_GE(events_of(run, "candidate").size(), 5u);
}

TEST(LeapVerify, ExpectedFalseAcceptsFollowFromTheTrace) {
  for (const bool portfolio : {false, true}) {
    Options options = sequential_options();
    options.verification.alpha = 0.03;
    if (portfolio) {
      options.predictor.kind = policy::PredictorKind::kPortfolio;
      options.predictor.portfolio = {"linear", "average"};
    }
    ToyRun run;
    run.wrap(options);
    run.train(60);
    double expected = 0;
    for (const json& candidate : events_of(run, "candidate")) {
      if (candidate.contains("pairs")) expected += portfolio ? 0.015 : 0.03;
    }
    ASSERT_GT(expected, 0);
    EXPECT_DOUBLE_EQ(events_of(run, "leap").back().at("false_accepts").get<double>(), expected);
    EXPECT_DOUBLE_EQ(run.leaps->status().ledger.false_accepts, expected);
  }
  ToyRun strict;
  strict.wrap(eager_options());
  strict.train(20);
  EXPECT_FALSE(events_of(strict, "leap").back().contains("false_accepts"));
}

TEST(LeapVerify, TriesEndWhereTheGateSetIsUsedUp) {
  Options options = eager_options();
  options.max_gate_passes = 1;
  ToyRun run;
  run.wrap(options);
  reject_everything(run);
  run.train(100);
  const std::vector<json> tries = events_of(run, "leap");
  // Sixteen sequences a try, of the 120 that are not probes.
  ASSERT_EQ(tries.size(), 8u);
  EXPECT_DOUBLE_EQ(tries[2].at("gate_passes").get<double>(), 3 * 16 / 120.0);
  EXPECT_EQ(events_of(run, "observation").back().at("reason"), "the gate set is used up");
}

TEST(LeapVerify, GainIsMeasuredBeforeAndAfterTheLeapOnSequencesThatDidNotAcceptIt) {
  const Options options = accepting_options();
  ToyRun bare;
  bare.train(10);
  ToyRun run;
  run.wrap(options);
  run.train(10);
  // The probes come first, then the sequences of the acceptance, then those of the gain.
  const torch::NoGradGuard no_grad;
  const std::int64_t batch = options.verification.sequences;
  const torch::Tensor x = toy_inputs(999, 128).narrow(0, options.probes + batch, batch);
  const auto loss = [&x](ToyRun& toy) {
    toy.model->eval();
    return torch::mse_loss(toy.model->forward(x), toy_target(x)).item<double>();
  };
  const double gain = loss(bare) - loss(run);
  EXPECT_NE(gain, 0);
  EXPECT_NEAR(events_of(run, "leap").at(0).at("gain").get<double>(), gain, 1e-5 * std::abs(gain));
}

TEST(LeapVerify, AdaptiveToleratesTheSpreadOfEarlierTries) {
  ToyRun run;
  Options options = accepting_options();
  options.verification.rule = policy::Rule::kAdaptive;
  options.controller.horizons = {2};
  run.wrap(options);
  run.train(60);
  std::vector<double> earlier;
  for (const json& candidate : events_of(run, "candidate")) {
    const double reference = candidate.at("reference_loss").get<double>();
    const double spread = std::sqrt(policy::summarize(earlier).variance);
    EXPECT_NEAR(candidate.at("limit").get<double>() - reference,
                spread - options.verification.margin, 1e-12)
        << "after " << earlier.size() << " tries";
    earlier.push_back(reference);
  }
  EXPECT_GE(earlier.size(), 5u);
}

TEST(LeapVerify, NanInTheWeightsRejectsAndSaysSo) {
  ToyRun run;
  run.wrap(accepting_options());
  run.train(14);
  // The canary has passed. Now the losses alone do not tell.
  run.change_losses = [](const at::Tensor& losses) { return losses.nan_to_num(1); };
  torch::Tensor weight = run.model->second->bias;
  {
    torch::NoGradGuard no_grad;
    weight.fill_(std::nan(""));
  }
  run.train(1);
  const json candidate = events_of(run, "candidate").back();
  EXPECT_EQ(candidate.at("step"), 15);
  EXPECT_EQ(candidate.at("verdict"), "rejected");
  EXPECT_EQ(candidate.at("reason"), "predicted weights are not finite");
  EXPECT_GE(candidate.at("non_finite").get<int>(), 1);
  EXPECT_FALSE(candidate.contains("candidate_loss")) << "no forward pass is spent on it";
}

TEST(LeapVerify, NanInACandidatesLossesRejectsAndSaysSo) {
  ToyRun whole;
  whole.wrap(accepting_options());
  whole.train(10);
  std::vector<std::string> reasons;
  for (int at = 1; at <= whole.evaluations; ++at) {
    ToyRun run;
    run.wrap(accepting_options());
    run.change_losses = [&run, at](const at::Tensor& losses) {
      return run.evaluations == at ? losses * std::nan("") : losses;
    };
    run.train(10);
    for (const json& candidate : events_of(run, "candidate")) {
      if (candidate.at("verdict") == "rejected") reasons.push_back(candidate.at("reason"));
    }
  }
  EXPECT_THAT(reasons, testing::Contains("a held-out loss is not finite"));
}

class EverySnapshotFormat : public testing::TestWithParam<SnapshotFormat> {
 protected:
  static Options options() {
    Options options = accepting_options();
    options.predictor.kind = policy::PredictorKind::kQuadratic;
    options.snapshots = GetParam();
    return options;
  }
};
INSTANTIATE_TEST_SUITE_P(All, EverySnapshotFormat,
                         testing::Values(SnapshotFormat::kFloat32, SnapshotFormat::kBFloat16Deltas,
                                         SnapshotFormat::kHost),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(EverySnapshotFormat, ResumedRunIsBitwiseTheUninterruptedOne) {
  for (const int stop : {1, 7, 10, 33, 50}) {
    ToyRun whole;
    whole.wrap(options());
    whole.train(70);
    expect_resumed_is(whole, options(), stop, 70);
  }
}

TEST(LeapVerify, MomentsAreKeptScaledOrReset) {
  const auto moment_after_leap = [](MomentPolicy moments) {
    ToyRun run;
    Options options = accepting_options();
    options.moments = moments;
    options.moment_scale = 0.5;
    run.wrap(options);
    run.train(10);
    const OptimizerState state = export_state(*run.base);
    return state.tensors.empty() ? at::Tensor() : state.tensors.front().second.clone();
  };
  ToyRun bare;
  bare.train(10);
  const at::Tensor kept = export_state(*bare.base).tensors.front().second;
  EXPECT_TRUE(bitwise_equal(moment_after_leap(MomentPolicy::kKeep), kept));
  EXPECT_TRUE(bitwise_equal(moment_after_leap(MomentPolicy::kScale), kept * 0.5));
  EXPECT_FALSE(moment_after_leap(MomentPolicy::kReset).defined());
}

class Cap : public testing::TestWithParam<bool> {};

TEST_P(Cap, OnTheOverheadIsHard) {
  ToyRun run;
  Options options = GetParam() ? accepting_options() : eager_options();
  options.planned_steps = 200;
  options.controller.max_overhead = 0.04;
  options.controller.horizons = {1, 2, 3, 4};
  options.controller.savings_share = 0;
  run.wrap(options);
  if (!GetParam()) reject_everything(run);
  run.train(200);
  const policy::Ledger ledger = run.leaps->status().ledger;
  EXPECT_GT(ledger.tries, 0);
  EXPECT_EQ(ledger.accepted > 0, GetParam());
  EXPECT_LE(static_cast<double>(ledger.forwards()), 0.04 * 200 * run.evaluator->step_cost());
}

INSTANTIATE_TEST_SUITE_P(RejectingAndAccepting, Cap, testing::Bool());

TEST(LeapVerify, EveryForwardPassIsBooked) {
  ToyRun run;
  run.wrap(accepting_options());
  run.tamper_with_canary = true;
  std::int64_t seen = 0;
  run.change_losses = [&seen](const at::Tensor& losses) {
    seen += losses.size(0);
    return losses;
  };
  run.train(60);
  EXPECT_EQ(run.leaps->status().ledger.forwards(), seen);
  std::int64_t traced = 0;
  for (const json& leap : events_of(run, "leap")) traced += leap.at("forwards").get<int>();
  EXPECT_EQ(run.leaps->status().ledger.verification_forwards, traced);
}

TEST(LeapVerify, FixedGateReusesTheProbesForwardPass) {
  ToyRun run;
  Options options = eager_options();
  options.gate = GateSource::kFixed;
  options.probes = 16;
  run.wrap(options);
  reject_everything(run);
  run.train(20);
  const auto tries = static_cast<std::int64_t>(events_of(run, "leap").size());
  ASSERT_EQ(tries, 3);
  EXPECT_EQ(run.leaps->status().ledger.verification_forwards, 6 + 16 * tries)
      << "the canary, then one candidate each, no reference";
}

template <class Error>
void expect_refusal(const std::string& optimizer, const Options& options, const char* words) {
  ToyRun run(optimizer);
  try {
    run.wrap(options);
    FAIL() << "accepted: " << words;
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(words));
  }
}

TEST(LeapVerify, RefusesWhatCannotWork) {
  expect_refusal<InvalidOption>("lbfgs", eager_options(), "LBFGS");
  Options options = eager_options();
  options.probes = 120;
  expect_refusal<InvalidOption>("adamw", options,
                                "gate set: 128 sequences is not legal, expected at least 152");

  options = sequential_options();
  options.gate = GateSource::kFixed;
  expect_refusal<InvalidOption>("adamw", options, "fresh with the rule sequential");
  options = eager_options();
  options.controller.horizons = {-1};
  expect_refusal<InvalidOption>("adamw", options, "horizons: -1");
}

TEST(LeapVerify, RefusesAStateOfAnotherModel) {
  ToyRun run;
  run.wrap(accepting_options());
  run.train(8);
  LeapVerifyState state = run.leaps->state();
  for (auto& [name, tensor] : state.tensors) {
    if (name != "activations") tensor = at::zeros({3});
  }
  ToyRun other;
  other.wrap(accepting_options());
  try {
    other.leaps->restore(state);
    FAIL() << "a state of other shapes was accepted";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("expected Float [32, 8]"));
  }
}

TEST(LeapVerify, MemoryIsSnapshotsAndOneBackup) {
  ToyRun run;
  run.wrap(eager_options());
  std::int64_t weights = 0;
  for (const at::Tensor& p : run.model->parameters()) weights += static_cast<int>(p.nbytes());
  std::int64_t buffers = 0;
  for (const at::Tensor& b : run.model->buffers()) buffers += static_cast<int>(b.nbytes());
  EXPECT_EQ(run.leaps->memory_bytes(), 3 * weights + buffers);
}

}  // namespace
}  // namespace leapverify

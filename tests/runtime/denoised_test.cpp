// Candidates at the denoised weights: rejected they leave no trace, accepted they move what they
// should and nothing else.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_transaction.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/momentum.h>
#include <leapverify/runtime/scaled_rates.h>
#include <leapverify/runtime/torch_optimizer.h>

#include "runtime/resumed.h"
#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr double kDecay = 0.75;

Options denoised(OnAccept on_accept, Options options = eager_options()) {
  options.reference = Reference::kDenoised;
  options.denoise_decay = kDecay;
  options.on_accept = on_accept;
  options.predictor.kind = policy::PredictorKind::kEmaTrend;
  options.predictor.window = 3;
  options.probes = 0;
  return options;
}

class EveryOptimizerDenoised : public testing::TestWithParam<const char*> {};

TEST_P(EveryOptimizerDenoised, AllRejectedIsTheBaseOptimizerBitwise) {
  ToyRun bare(GetParam());
  bare.train(220);
  const auto expected = bare.everything();
  for (const OnAccept on_accept : {OnAccept::kLeap, OnAccept::kRate, OnAccept::kBoth}) {
    ToyRun wrapped(GetParam());
    wrapped.wrap(denoised(on_accept));
    reject_everything(wrapped);
    wrapped.train(220);
    EXPECT_TRUE(bitwise_equal(expected, wrapped.everything())) << name_of(on_accept);
    expect_real_rejections(wrapped);
    EXPECT_EQ(wrapped.leaps->status().learning_rate_scale, 1);
    EXPECT_TRUE(events_of(wrapped, "rate").empty());
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryOptimizerDenoised,
                         testing::Values("sgd", "adam", "adamw", "rmsprop", "adagrad"),
                         [](const auto& instance) { return std::string(instance.param); });

/// Weights of the first layer at every step of a run of the base optimizer, and their average.
struct Walk {
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> averages;

  explicit Walk(int steps) {
    ToyRun bare;
    const auto weight = [&] { return bare.model->first->weight.detach().to(at::kDouble); };
    averages.push_back(weight());
    weights.push_back(weight());
    for (int i = 0; i < steps; ++i) {
      bare.train(1);
      weights.push_back(weight());
      averages.push_back(kDecay * averages.back() + (1 - kDecay) * weights.back());
    }
  }
};

bool close(const at::Tensor& weight, const at::Tensor& expected) {
  return torch::allclose(weight.detach().to(at::kCPU, at::kDouble), expected.cpu(), 0, 1e-6);
}

Options two_snapshots(OnAccept on_accept) {
  Options options = denoised(on_accept, accepting_options());
  options.predictor.kind = policy::PredictorKind::kLinear;
  options.controller.horizons = {15};
  return options;
}

TEST(Denoised, ComparesAtTheAverageAndMovesTheWeightsByWhatVerifiedThere) {
  const Walk walk(10);
  ToyRun run;
  run.wrap(two_snapshots(OnAccept::kLeap));
  std::vector<at::Tensor> evaluated;
  run.before_evaluation = [&] { evaluated.push_back(run.model->first->weight.detach().clone()); };
  run.train(10);
  const at::Tensor move = 3 * (walk.averages[10] - walk.averages[5]);
  ASSERT_EQ(evaluated.size(), 4u) << "reference, candidate, and both again for the value";
  EXPECT_TRUE(close(evaluated[0], walk.averages[10]));
  EXPECT_TRUE(close(evaluated[1], walk.averages[10] + move));
  EXPECT_TRUE(close(evaluated[2], walk.averages[10]));
  EXPECT_TRUE(close(evaluated[3], walk.averages[10] + move));
  EXPECT_TRUE(close(run.model->first->weight, walk.weights[10] + move));
  EXPECT_FALSE(close(run.model->first->weight, walk.weights[10]));
  EXPECT_EQ(events_of(run, "leap").at(0).at("outcome"), "committed");
}

TEST(Denoised, AverageStandsInForTheWeightsAsLongAsAsked) {
  ToyRun run;
  Options options = denoised(OnAccept::kRate);
  run.wrap(options);
  EXPECT_FALSE(run.leaps->has_average()) << "before the first step";
  EXPECT_THROW(run.leaps->at_average([] {}), ContractError);
  reject_everything(run);
  run.train(17);
  const Walk walk(17);
  const auto before = run.everything();
  const void* const storage = run.model->first->weight.data_ptr();
  at::Tensor seen;
  run.leaps->at_average([&] { seen = run.model->first->weight.detach().clone(); });
  EXPECT_TRUE(close(seen, walk.averages.back()));
  EXPECT_FALSE(close(seen, walk.weights.back()));
  EXPECT_TRUE(bitwise_equal(before, run.everything()));
  EXPECT_EQ(run.model->first->weight.data_ptr(), storage);
  EXPECT_THROW(run.leaps->at_average([] { throw std::runtime_error("stop"); }), std::runtime_error);
  EXPECT_TRUE(bitwise_equal(before, run.everything()));

  ToyRun current;
  current.wrap(eager_options());
  current.train(1);
  EXPECT_FALSE(current.leaps->has_average());
}

TEST(Denoised, HistoryAndAverageAreCarriedAlongWithALeap) {
  for (const SnapshotFormat format :
       {SnapshotFormat::kFloat32, SnapshotFormat::kBFloat16Deltas, SnapshotFormat::kHost}) {
    ToyRun run;
    Options options = two_snapshots(OnAccept::kLeap);
    options.snapshots = format;
    run.wrap(options);
    at::Tensor reference;
    run.before_evaluation = [&] { reference = run.model->first->weight.detach().clone(); };
    run.train(10);
    const at::Tensor candidate = reference;
    const LeapVerifyState state = run.leaps->state();
    for (const auto& [name, tensor] : state.tensors) {
      if (name == "average.0" || name == "snapshot.0.0") {
        EXPECT_TRUE(close(tensor, candidate.to(at::kDouble))) << name << name_of(format);
      }
    }
    // No pause until there are two snapshots again.
    run.train(5);
    EXPECT_EQ(events_of(run, "leap").size(), 2u) << name_of(format);
  }
}

TEST(Denoised, WithRateOnlyNoWeightMovesAndEachStepIsTakenAtTheScaledRate) {
  for (const char* name : {"sgd", "adamw"}) {
    Options options = two_snapshots(OnAccept::kRate);
    options.controller.horizons = {5};
    options.rate.growth = 1.25;
    options.rate.largest = 2.2;
    options.rate.look_back = 30;
    ToyRun run(name);
    run.wrap(options);
    torch::optim::StepLR schedule(*run.base, 7, 0.5);
    ToyRun bare(name);
    torch::optim::StepLR bare_schedule(*bare.base, 7, 0.5);
    for (int step = 1; step <= 40; ++step) {
      // Rises at steps 10, 15, 20; the one at 25 stops at the largest.
      const double scale = step > 25   ? 2.2
                           : step > 20 ? 1.25 * 1.25 * 1.25
                           : step > 15 ? 1.25 * 1.25
                           : step > 10 ? 1.25
                                       : 1;
      torch::manual_seed(static_cast<std::uint64_t>(step));
      run.train(1);
      schedule.step();
      torch::manual_seed(static_cast<std::uint64_t>(step));
      {
        TorchOptimizer base(*bare.base);
        const ScaledRates rates(base, scale);
        bare.train(1);
      }
      bare_schedule.step();
      ASSERT_EQ(run.leaps->status().step_scale, scale);
      ASSERT_TRUE(bitwise_equal(bare.everything(), run.everything())) << name << " step " << step;
      ASSERT_EQ(run.base->param_groups()[0].options().get_lr(),
                bare.base->param_groups()[0].options().get_lr());
    }
    const std::vector<json> rises = events_of(run, "rate");
    ASSERT_EQ(rises.size(), 4u);
    EXPECT_EQ(rises[0].at("step"), 10);
    EXPECT_EQ(rises[0].at("from"), 1);
    EXPECT_EQ(rises[0].at("to"), 1.25);
    EXPECT_EQ(rises[3].at("to"), 2.2);
    EXPECT_EQ(run.leaps->status().learning_rate_scale, 2.2);
    for (const json& leap : events_of(run, "leap")) EXPECT_EQ(leap.at("outcome"), "rate_only");
    EXPECT_EQ(run.leaps->status().ledger.steps_saved, 0);
    std::int64_t raising = 0;
    const std::vector<json> tries = events_of(run, "leap");
    for (std::size_t i = 0; i < 3; ++i) raising += tries[i].at("forwards").get<int>();
    EXPECT_EQ(run.leaps->status().ledger.raising_forwards, raising)
        << "not of those that the limit cut short";
  }
}

TEST(Denoised, AClimbingScheduleUsesUpWhatTheRateHasRisenBy) {
  Options options = two_snapshots(OnAccept::kRate);
  options.rate.growth = 1.5;
  options.rate.look_back = 30;
  ToyRun run;
  run.wrap(options);
  ToyRun bare;
  const auto scheduled = [](int step) { return 1e-4 * std::min(step, 32); };
  const auto train_at = [](ToyRun& one, double rate, int step) {
    for (auto& group : one.base->param_groups()) group.options().set_lr(rate);
    torch::manual_seed(static_cast<std::uint64_t>(step));
    one.train(1);
  };
  // Rises after steps 10 and 15; where the schedule climbs, the rate that had verified stays.
  double in_force = 0;
  for (int step = 1; step <= 20; ++step) {
    in_force = std::max(in_force, scheduled(step));
    train_at(run, scheduled(step), step);
    train_at(bare, in_force, step);
    for (std::size_t i = 0; i < run.model->parameters().size(); ++i) {
      ASSERT_TRUE(torch::allclose(run.model->parameters()[i], bare.model->parameters()[i], 0, 1e-6))
          << "step " << step;
    }
    if (step == 10 || step == 15) in_force *= 1.5 * 1.5;
  }
  std::vector<std::pair<double, double>> moves;
  for (const json& event : events_of(run, "rate")) {
    moves.emplace_back(event.at("step"), event.at("to"));
    if (moves.size() > 1) {
      EXPECT_EQ(event.at("from"), moves[moves.size() - 2].second);
    }
  }
  using testing::DoubleNear;
  using testing::Pair;
  const auto near = [](double value) { return DoubleNear(value, 1e-9); };
  EXPECT_THAT(moves,
              testing::ElementsAre(Pair(10, near(2.25)), Pair(15, near(1.5)), Pair(15, near(3.375)),
                                   Pair(20, near(2.53125)), Pair(20, near(5.6953125))));
}

/// Trains at 1e-4 a step, up to `top`.
void train_climbing(ToyRun& run, int steps, int top) {
  for (int i = 0; i < steps; ++i) {
    const auto step = static_cast<double>(std::min<std::int64_t>(run.progress.data + 1, top));
    for (auto& group : run.base->param_groups()) group.options().set_lr(1e-5 * step);
    run.train(1);
  }
}

TEST(Denoised, TriesThatOnlyFillUpWhatAClimbTookAreCounted) {
  Options options = two_snapshots(OnAccept::kRate);
  options.rate.largest = 1.5;
  options.rate.look_back = 30;
  options.planned_steps = 200;
  options.controller.max_overhead = 0.04;
  ToyRun run;
  run.wrap(options);
  train_climbing(run, 200, 200);
  std::int64_t raising = 0;
  std::int64_t forwards = 0;
  bool partly = false;
  for (const std::string& line : run.trace) {
    const json event = json::parse(line);
    if (event.at("event") == "leap") forwards = event.at("forwards");
    if (event.at("event") != "rate" || event.at("reason") != "a candidate verified") continue;
    const bool whole = event.at("to").get<double>() >= event.at("from").get<double>() * 1.5;
    partly = partly || !whole;
    if (whole) raising += forwards;
  }
  const policy::Ledger ledger = run.leaps->status().ledger;
  EXPECT_TRUE(partly);
  EXPECT_EQ(ledger.raising_forwards, raising);
  EXPECT_LE(static_cast<double>(ledger.forwards() - raising),
            0.04 * 200 * run.evaluator->step_cost());
}

TEST(Denoised, TheLastFactorIsTraced) {
  Options options = two_snapshots(OnAccept::kRate);
  options.planned_steps = 18;
  ToyRun run;
  run.wrap(options);
  train_climbing(run, 18, 18);
  ASSERT_NE(run.leaps->status().learning_rate_scale, 1);
  EXPECT_EQ(events_of(run, "rate").back().at("to"), run.leaps->status().learning_rate_scale);
  EXPECT_EQ(events_of(run, "rate").back().at("step"), 18);
}

TEST(Denoised, ResumedWhileTheScheduleClimbsIsBitwiseTheUninterruptedRun) {
  const Options options = two_snapshots(OnAccept::kRate);
  for (const int stop : {8, 12, 15, 23}) {
    ToyRun whole;
    whole.wrap(options);
    train_climbing(whole, 40, 30);
    expect_resumed_is(whole, options, stop, 40,
                      [](ToyRun& run, int steps) { train_climbing(run, steps, 30); });
  }
}

TEST(Denoised, OtherWeightsAreLentToOneAtATime) {
  ToyRun bare;
  bare.train(30);
  ToyRun run;
  run.wrap(denoised(OnAccept::kRate));
  run.before_evaluation = [&] { run.leaps->at_average([] {}); };
  run.train(30);
  EXPECT_TRUE(bitwise_equal(bare.everything(), run.everything()));
  EXPECT_THAT(events_of(run, "failure").at(0).at("reason").get<std::string>(),
              HasSubstr("at_average() while other weights"));

  ToyRun other;
  other.wrap(denoised(OnAccept::kRate, accepting_options()));
  other.train(2);
  const auto before = other.everything();
  EXPECT_THROW(other.leaps->at_average([&] { other.leaps->step(); }), ContractError);
  EXPECT_TRUE(bitwise_equal(before, other.everything()));
}

TEST(Denoised, CandidatesFarAheadRaiseTheRateMoreAndAreAllThatIsAskedOfAClimbingSchedule) {
  Options options = two_snapshots(OnAccept::kRate);
  options.controller.horizons = {3, 15};
  ASSERT_EQ(options.far_horizon(), 10);
  options.rate.growth = 1.25;
  options.rate.look_back = 30;
  ToyRun run;
  run.wrap(options);
  for (int step = 1; step <= 25; ++step) {
    for (auto& group : run.base->param_groups()) group.options().set_lr(1e-5 * std::min(step, 12));
    run.train(1);
  }
  std::vector<std::vector<int>> horizons;
  for (const json& event : events_of(run, "observation")) {
    if (event.contains("horizons")) horizons.push_back(event.at("horizons"));
  }
  EXPECT_THAT(horizons, testing::ElementsAre(std::vector<int>{15}, std::vector<int>{15},
                                             std::vector<int>{3, 15}, std::vector<int>{3, 15}));
  EXPECT_EQ(events_of(run, "rate").front().at("to"), 1.25 * 1.25);
}

TEST(Denoised, PlateauScheduleSeesItsOwnRatesToo) {
  Options options = two_snapshots(OnAccept::kRate);
  options.rate.growth = 1.5;
  options.rate.largest = 1.5;
  options.rate.look_back = 30;
  ToyRun run;
  run.wrap(options);
  ToyRun bare;
  using torch::optim::ReduceLROnPlateauScheduler;
  ReduceLROnPlateauScheduler schedule(*run.base, ReduceLROnPlateauScheduler::min, 0.5F, 2);
  ReduceLROnPlateauScheduler bare_schedule(*bare.base, ReduceLROnPlateauScheduler::min, 0.5F, 2);
  for (int step = 1; step <= 40; ++step) {
    torch::manual_seed(static_cast<std::uint64_t>(step));
    run.train(1);
    torch::manual_seed(static_cast<std::uint64_t>(step));
    {
      TorchOptimizer base(*bare.base);
      const ScaledRates rates(base, step > 10 ? 1.5 : 1);
      bare.train(1);
    }
    // A loss that never falls.
    schedule.step(1.0F);
    bare_schedule.step(1.0F);
    ASSERT_TRUE(bitwise_equal(bare.everything(), run.everything())) << "step " << step;
    ASSERT_EQ(run.base->param_groups()[0].options().get_lr(),
              bare.base->param_groups()[0].options().get_lr());
  }
  EXPECT_LT(run.base->param_groups()[0].options().get_lr(), 3e-3 / 100)
      << "the schedule was at work";
  EXPECT_EQ(run.leaps->status().learning_rate_scale, 1.5);
}

TEST(Denoised, RateIsBackWhenAStepThrows) {
  ToyRun run;
  run.wrap(two_snapshots(OnAccept::kRate));
  run.train(10);
  ASSERT_GT(run.leaps->status().learning_rate_scale, 1);
  const double before = run.base->param_groups()[0].options().get_lr();
  EXPECT_THROW(run.leaps->step([]() -> at::Tensor { throw std::runtime_error("no data"); }),
               std::runtime_error);
  EXPECT_EQ(run.base->param_groups()[0].options().get_lr(), before);
}

TEST(Denoised, RateFallsWhenTheWeightsOfBeforeAreBetter) {
  ToyRun run;
  Options options = denoised(OnAccept::kRate);
  options.rate.growth = 2;
  options.rate.look_back = 2;
  run.wrap(options);
  // By the evaluation's number: the first candidate is accepted, the next rejected (step 15);
  // rejected (20); then the look back at step 25 is.
  run.train(14);
  run.change_losses = [n = 0](const at::Tensor& losses) mutable {
    constexpr double kLosses[] = {5, 4, 6,  // step 15: candidate of horizon 2, not of 5
                                  5, 6,     // step 20: none
                                  5, 4};    // step 25: the weights of step 15
    return at::full_like(losses, kLosses[std::min(n++, 6)]);
  };
  run.train(16);
  const std::vector<json> changes = events_of(run, "rate");
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].at("step"), 15);
  EXPECT_EQ(changes[0].at("to"), 2);
  EXPECT_EQ(changes[1].at("step"), 25);
  EXPECT_EQ(changes[1].at("to"), 1);
  const std::vector<json> candidates = events_of(run, "candidate");
  EXPECT_EQ(candidates.at(3).at("horizon"), -10) << "ten steps back, from step 25";
}

TEST(Denoised, ShadowChangesNeitherWeightsNorRate) {
  ToyRun bare;
  bare.train(60);
  ToyRun run;
  Options options = two_snapshots(OnAccept::kBoth);
  options.mode = Mode::kShadow;
  run.wrap(options);
  run.train(60);
  EXPECT_TRUE(bitwise_equal(bare.everything(), run.everything()));
  EXPECT_GT(run.leaps->status().ledger.accepted, 5);
  EXPECT_EQ(run.leaps->status().learning_rate_scale, 1);
}

TEST(Denoised, ShadowDoesNotLowerTheRateEither) {
  ToyRun run;
  Options options = denoised(OnAccept::kRate, accepting_options());
  options.mode = Mode::kShadow;
  options.rate.smallest = 0.25;
  run.wrap(options);
  run.train(60);
  const std::vector<json> candidates = events_of(run, "candidate");
  ASSERT_GT(candidates.size(), 5u);
  EXPECT_LT(candidates[0].at("horizon"), 0) << "a look back, which verified";
  EXPECT_EQ(run.leaps->status().learning_rate_scale, 1);
  EXPECT_TRUE(events_of(run, "rate").empty());
}

/// Begins at a quarter of the schedule.
Options from_a_quarter() {
  Options options = two_snapshots(OnAccept::kRate);
  options.rate.start = 0.25;
  options.rate.growth = 1.5;
  options.rate.look_back = 30;
  options.planned_steps = 100;
  options.controller.horizons = {5};
  options.controller.max_overhead = 1;
  return options;
}

/// The same where no candidate is better.
Options from_a_quarter_in_vain() {
  Options options = from_a_quarter();
  options.verification.rule = policy::Rule::kStrict;
  options.verification.margin = 1e6;
  return options;
}

/// Steps and values of all changes of the factor.
std::vector<std::pair<int, double>> changes_of_rate(const ToyRun& run) {
  std::vector<std::pair<int, double>> changes;
  for (const json& event : events_of(run, "rate")) {
    changes.emplace_back(event.at("step"), event.at("to"));
  }
  return changes;
}

TEST(Denoised, ARateThatBeginsBelowTheScheduleRisesFromThere) {
  ToyRun run;
  run.wrap(from_a_quarter());
  run.train(1);
  EXPECT_EQ(run.leaps->status().step_scale, 0.25);
  run.train(19);
  EXPECT_THAT(changes_of_rate(run),
              testing::ElementsAre(std::pair(0, 0.25), std::pair(10, 0.375), std::pair(15, 0.5625),
                                   std::pair(20, 0.84375)));
}

TEST(Denoised, WhereNothingVerifiesTheRateIsTheSchedules) {
  using testing::ElementsAre;
  using testing::Pair;
  ToyRun rejected;
  rejected.wrap(from_a_quarter_in_vain());
  rejected.train(100);
  ASSERT_GT(events_of(rejected, "leap").size(), 3u);
  EXPECT_THAT(changes_of_rate(rejected),
              ElementsAre(Pair(0, 0.25), Pair(events_of(rejected, "leap").at(2).at("step"), 1)));
  EXPECT_EQ(events_of(rejected, "rate").back().at("reason"), "nothing has verified");

  Options poor = from_a_quarter();
  poor.controller.max_overhead = 1e-6;
  ToyRun without_budget;
  without_budget.wrap(poor);
  without_budget.train(20);
  EXPECT_THAT(changes_of_rate(without_budget), ElementsAre(Pair(0, 0.25), Pair(5, 1)));

  ToyRun without_evaluator;
  without_evaluator.wrap(from_a_quarter());
  without_evaluator.before_evaluation = [] { throw std::runtime_error("out of candles"); };
  without_evaluator.train(100);
  const json last_failure = events_of(without_evaluator, "failure").back();
  ASSERT_EQ(last_failure.at("off"), true);
  EXPECT_THAT(changes_of_rate(without_evaluator),
              ElementsAre(Pair(0, 0.25), Pair(last_failure.at("step"), 1)));
}

TEST(Denoised, WhereMoreIsShownToBeNoGainTheRateStaysBelowTheSchedule) {
  Options options = from_a_quarter_in_vain();
  options.verification.rule = policy::Rule::kSequential;
  options.verification.max_sequences = 64;
  options.verification.margin = 0;
  // So far ahead that it does harm.
  options.planned_steps = 100000;
  options.controller.horizons = {4000};
  ToyRun run;
  run.wrap(options);
  run.train(100);
  ASSERT_GT(events_of(run, "leap").size(), 3u);
  EXPECT_THAT(changes_of_rate(run), testing::ElementsAre(testing::Pair(0, 0.25)));
}

TEST(Denoised, WithoutAnEndInSightOrATryTheRateIsTheSchedulesFromTheStart) {
  for (const std::int64_t planned : {0, 8}) {
    Options options = from_a_quarter();
    options.planned_steps = planned;
    ToyRun run;
    run.wrap(options);
    run.train(1);
    EXPECT_EQ(run.leaps->status().step_scale, 1) << planned;
  }
}

TEST(Denoised, ARaisedRateFallsToTheEndOfAConstantSchedule) {
  Options options = from_a_quarter();
  options.rate.start = 1;
  options.rate.largest = 2;
  options.rate.anneal = 0.2;
  ToyRun run;
  run.wrap(options);
  std::vector<double> last;
  for (int step = 1; step <= 100; ++step) {
    run.train(1);
    if (step > 80) last.push_back(run.leaps->status().step_scale);
  }
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(last[i], 2 * (20 - static_cast<double>(i)) / 20.0, 1e-9);
  }
  EXPECT_EQ(run.leaps->status().learning_rate_scale, 2) << "the end's is no rate found";
  const json event = events_of(run, "rate").back();
  EXPECT_EQ(event.at("step"), 100);
  EXPECT_EQ(event.at("reason"), "the end of the run is near");

  Options in_vain = from_a_quarter_in_vain();
  in_vain.rate.start = 1;
  in_vain.rate.anneal = 0.2;
  ToyRun rejected;
  rejected.wrap(in_vain);
  rejected.train(100);
  ToyRun bare;
  bare.train(100);
  EXPECT_TRUE(bitwise_equal(bare.everything(), rejected.everything()));
}

TEST(Denoised, ARateBelowTheScheduleIsResumedBitwise) {
  for (const Options& options : {from_a_quarter(), from_a_quarter_in_vain()}) {
    for (const int stop : {3, 12, 32}) {
      ToyRun whole;
      whole.wrap(options);
      whole.train(60);
      expect_resumed_is(whole, options, stop, 60);
    }
  }
}

Options with_stride(double stride, Options options = from_a_quarter()) {
  options.rate.start = 1;
  options.rate.stride = stride;
  return options;
}

TEST(Denoised, AStrideHoldsTheRateFromTheFirstStepOn) {
  ToyRun free;
  free.wrap(with_stride(0));
  free.train(1);
  const auto first = free.everything();
  free.train(39);
  ASSERT_GT(free.leaps->status().learning_rate_scale, 2) << "there is something to hold";
  ToyRun held;
  held.wrap(with_stride(1e-3));
  held.train(1);
  EXPECT_TRUE(bitwise_equal(first, held.everything())) << "of which nothing was known";
  held.train(1);
  EXPECT_LT(held.leaps->status().step_scale, 0.5);
  EXPECT_LT(held.leaps->status().learning_rate_scale, 0.5);
  held.train(38);
  EXPECT_EQ(events_of(held, "observation").back().at("reason"),
            "the weights move as far as rate.stride lets them");
  const json event = events_of(held, "rate").front();
  EXPECT_EQ(event.at("step"), 1);
  EXPECT_EQ(event.at("reason"), "the weights go as far as rate.stride");
}

TEST(Denoised, AStrideIsOfTheMatricesAndTheirAverage) {
  ToyRun run;
  run.wrap(with_stride(1e3));
  const auto matrices = [&] {
    std::vector<at::Tensor> found;
    for (const at::Tensor& weight : {run.model->first->weight, run.model->second->weight}) {
      found.push_back(weight.detach().to(at::kCPU, at::kDouble).clone());
    }
    return found;
  };
  std::vector<at::Tensor> averages = matrices();
  for (int step = 1; step <= 3; ++step) {
    run.train(1);
    const std::vector<at::Tensor> weights = matrices();
    double away = 0;
    double norm = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      averages[i] = kDecay * averages[i] + (1 - kDecay) * weights[i];
      away += (weights[i] - averages[i]).square().sum().item<double>();
      norm += weights[i].square().sum().item<double>();
    }
    const json rate = json::parse(run.leaps->state().json).at("rate");
    EXPECT_NEAR(rate.at("distance").get<double>(), std::sqrt(away / norm), 1e-6) << step;
    EXPECT_GT(std::sqrt(away / norm), 1e-3);
  }
}

TEST(Denoised, AStrideThatNeverBindsLeavesARejectedRunBare) {
  ToyRun rejected;
  rejected.wrap(with_stride(1e3, from_a_quarter_in_vain()));
  rejected.train(100);
  ToyRun bare;
  bare.train(100);
  ASSERT_GT(events_of(rejected, "leap").size(), 3u);
  EXPECT_TRUE(bitwise_equal(bare.everything(), rejected.everything()));
}

TEST(Denoised, AHeldRateIsResumedBitwise) {
  const Options options = with_stride(0.02);
  ToyRun whole;
  whole.wrap(options);
  whole.train(60);
  ASSERT_FALSE(events_of(whole, "rate").empty());
  for (const int stop : {1, 3, 12, 32}) expect_resumed_is(whole, options, stop, 60);
}

TEST(Denoised, ShadowHoldsNoRate) {
  Options options = with_stride(1e-3);
  options.mode = Mode::kShadow;
  ToyRun shadow;
  shadow.wrap(options);
  shadow.train(40);
  ToyRun bare;
  bare.train(40);
  EXPECT_TRUE(bitwise_equal(bare.everything(), shadow.everything()));
}

TEST(Denoised, AStrideHoldsOnWhereLeapsAreOff) {
  // A rate that may not rise is tried for leaps only.
  Options options = with_stride(1e-3);
  options.on_accept = OnAccept::kBoth;
  ToyRun run;
  run.wrap(options);
  run.before_evaluation = [] { throw std::runtime_error("out of candles"); };
  run.train(100);
  ASSERT_NE(run.leaps->status().off_reason, "");
  ASSERT_FALSE(events_of(run, "rate").empty());
  const json off = events_of(run, "failure").back();
  const json last = events_of(run, "rate").back();
  EXPECT_GT(last.at("step").get<int>(), off.at("step").get<int>());
}

TEST(Denoised, AStrideWithoutAnAverageIsRefused) {
  Options options = with_stride(0.1);
  options.reference = Reference::kCurrent;
  try {
    options.validate();
    FAIL() << "accepted";
  } catch (const InvalidOption& error) {
    EXPECT_EQ(error.field(), "rate.stride");
  }
  options = with_stride(0.1);
  options.on_accept = OnAccept::kLeap;
  EXPECT_THROW(options.validate(), InvalidOption);
  options = with_stride(0.1);
  options.denoise_decay = 0;
  EXPECT_THROW(options.validate(), InvalidOption);
}

Options free_rate() {
  Options options = Options::free_rate();
  options.observe_every = 5;
  options.planned_steps = 100;
  return options;
}

void set_rate(ToyRun& run, double rate) {
  for (auto& group : run.base->param_groups()) group.options().set_lr(rate);
}

TEST(Denoised, AFreeRateIsFoundFromAnyRate) {
  std::vector<double> found;
  std::vector<double> moved;
  for (const double rate : {1e-7, 3e-3, 1.0}) {
    ToyRun run;
    const at::Tensor before = run.model->first->weight.detach().clone();
    set_rate(run, rate);
    run.wrap(free_rate());
    run.train(1);
    EXPECT_EQ(run.leaps->status().step_scale, 1.0 / 4096);
    run.train(79);
    found.push_back(rate * run.leaps->status().step_scale);
    const at::Tensor gone = run.model->first->weight.detach() - before;
    moved.push_back((gone.norm() / before.norm()).item<double>());
  }
  for (std::size_t i = 1; i < found.size(); ++i) {
    EXPECT_NEAR(std::log(found[i] / found[0]), 0, std::log(2)) << i;
    EXPECT_NEAR(moved[i], moved[0], 0.5 * moved[0]) << i;
  }
}

TEST(Denoised, AFreeRateTrainsMatricesThatBeginAtZero) {
  std::vector<double> moved;
  for (const double rate : {1e-5, 1e-3, 1.0}) {
    ToyRun run;
    // A new head.
    for (auto& parameter : run.model->first->parameters()) parameter.set_requires_grad(false);
    for (auto& parameter : run.model->norm->parameters()) parameter.set_requires_grad(false);
    const std::vector<at::Tensor> head = run.model->second->parameters();
    for (const at::Tensor& parameter : head) parameter.detach().zero_();
    run.base = std::make_unique<torch::optim::AdamW>(head, torch::optim::AdamWOptions(rate));
    run.wrap(free_rate());
    run.train(100);
    moved.push_back(run.model->second->weight.detach().norm().item<double>());
  }
  for (const double norm : moved) EXPECT_NEAR(std::log(norm / moved.front()), 0, std::log(2));
  EXPECT_GT(moved.front(), 0.3);
}

TEST(Denoised, AFreeRateDoesNotTakeARateThatIsNotFinite) {
  ToyRun run;
  set_rate(run, std::numeric_limits<double>::infinity());
  run.wrap(free_rate());
  const at::Tensor before = run.model->first->weight.detach().clone();
  EXPECT_THROW(run.train(1), InvalidOption);
  EXPECT_TRUE(bitwise_equal(before, run.model->first->weight.detach()));
}

TEST(Denoised, OfAFreeRateOnlyDecisionsAreTraced) {
  ToyRun run;
  run.wrap(free_rate());
  for (int step = 0; step < 95; ++step) {
    set_rate(run, 3e-3 * (1 - 0.01 * step));
    run.train(1);
  }
  const std::vector<json> events = events_of(run, "rate");
  for (std::size_t i = 2; i < events.size(); ++i) {
    EXPECT_NE(events[i].at("rate"), events[i - 1].at("rate")) << events[i];
  }
  EXPECT_LT(events.size(), 40u);
}

TEST(Denoised, AFreeRateMovesTheMatricesAsFarAsItsStride) {
  for (const double stride : {0.05, 0.2}) {
    Options options = free_rate();
    options.rate.stride = stride;
    ToyRun run;
    run.wrap(options);
    double furthest = 0;
    for (int step = 1; step <= 60; ++step) {
      run.train(1);
      const json rate = json::parse(run.leaps->state().json).at("rate");
      if (step > 20) furthest = std::max(furthest, rate.at("distance").get<double>());
    }
    EXPECT_LT(furthest, 1.2 * stride);
    EXPECT_GT(furthest, 0.7 * stride);
  }
}

TEST(Denoised, AFreeRateAsksNoHeldOutLossAndKeepsNoSnapshots) {
  ToyRun run;
  run.wrap(free_rate());
  run.before_evaluation = [] { throw std::runtime_error("out of candles"); };
  run.train(40);
  EXPECT_EQ(run.leaps->status().off_reason, "");
  EXPECT_EQ(run.leaps->status().overhead, 0);
  EXPECT_TRUE(events_of(run, "leap").empty());
  EXPECT_EQ(events_of(run, "observation").back().at("reason"),
            "with rate.free no candidates are tried");
  EXPECT_EQ(run.leaps->offer_obstacle(), "with rate.free no candidates are tried");
  // Iterate, average and, for some steps, the start; and of so few weights the sample of the path is all, four
  // times.
  std::int64_t expected = 0;
  for (const at::Tensor& weight : run.model->parameters()) {
    expected += 2 * 4 * weight.numel();
    if (weight.dim() > 1) expected += 4 * 4 * weight.numel();
  }
  for (const at::Tensor& buffer : run.model->buffers()) expected += buffer.nbytes();
  EXPECT_EQ(run.leaps->memory_bytes(), expected);
  EXPECT_TRUE(run.leaps->has_average());
  run.leaps->at_average([] {});
}

TEST(Denoised, AFreeRateIsResumedBitwise) {
  ToyRun whole;
  whole.wrap(free_rate());
  whole.train(60);
  for (const int stop : {1, 3, 12, 32}) expect_resumed_is(whole, free_rate(), stop, 60);
}

TEST(Denoised, AFreeRateComesAfterARunThatWasNot) {
  Options before = from_a_quarter();
  before.rate.start = 1;
  before.on_accept = OnAccept::kLeap;
  before.controller.cascade = 4;
  ToyRun run;
  run.wrap(before);
  run.train(12);
  const LeapVerifyState state = run.leaps->state();
  ASSERT_GT(json::parse(state.json).at("controller").at("links_left"), 0)
      << "a cascade is under way";
  Options after = free_rate();
  after.detector.signal = before.detector.signal;
  run.wrap(after);
  run.leaps->restore(state);
  run.trace.clear();
  run.train(40);
  EXPECT_GE(events_of(run, "observation").size(), 8u);
  EXPECT_NE(run.leaps->status().learning_rate_scale, 1);
}

json rate_state(const ToyRun& run) { return json::parse(run.leaps->state().json).at("rate"); }

TEST(Denoised, ARunThatWasOffOrFreeLeavesItsWeightsAsTheAverage) {
  Options off;
  off.enabled = false;
  for (const Options& before : {off, free_rate()}) {
    for (Options after : {denoised(OnAccept::kRate), free_rate()}) {
      after.detector.signal = before.detector.signal;
      if (before.rate.free && after.rate.free) continue;
      SCOPED_TRACE(std::string(before.rate.free ? "free" : "off") + ", then " +
                   (after.rate.free ? "free" : "verified"));
      ToyRun run;
      run.wrap(before);
      run.train(10);
      const LeapVerifyState state = run.leaps->state();
      const std::vector<at::Tensor> weights = weights_of(run);
      run.wrap(after);
      run.leaps->restore(state);
      EXPECT_FALSE(run.leaps->has_average());
      run.train(1);
      if (after.rate.free) {
        EXPECT_EQ(run.leaps->status().step_scale, 1.0 / 4096);
        // One step was gone from where its average began.
        const double reach = rate_state(run).at("reach").get<double>();
        const double distance = rate_state(run).at("distance").get<double>();
        EXPECT_NEAR(reach, distance / (1 - after.denoise_decay), 1e-9 * reach);
      }
      const std::vector<at::Tensor> now =
          after.rate.free ? listed(run, "iterate.") : weights_of(run);
      const std::vector<at::Tensor> average =
          listed(run, after.rate.free ? "iterate_average." : "average.");
      const double share = after.rate.free ? 1 : 1 - after.denoise_decay;
      for (std::size_t i = 0; i < now.size(); ++i) {
        const at::Tensor expected = weights[i] + share * (now[i] - weights[i]);
        EXPECT_TRUE(at::allclose(average[i], expected, 1e-5, 1e-7)) << i;
      }
      run.train(30);
    }
  }
}

TEST(Denoised, AFreeRateTakesTheStrideOfAdaptersWhereLittleIsTrained) {
  const auto stride = [](bool little) {
    ToyRun run;
    for (auto& parameter : run.model->first->parameters()) parameter.set_requires_grad(!little);
    for (auto& parameter : run.model->norm->parameters()) parameter.set_requires_grad(!little);
    std::vector<at::Tensor> trained;
    for (const at::Tensor& parameter : run.model->parameters()) {
      if (parameter.requires_grad()) trained.push_back(parameter);
    }
    run.base = std::make_unique<torch::optim::AdamW>(trained, torch::optim::AdamWOptions(3e-3));
    run.wrap(free_rate());
    run.train(1);
    return events_of(run, "start").front().at("options").at("rate.stride").get<double>();
  };
  EXPECT_EQ(stride(false), policy::RateOptions::free_stride(100, false));
  EXPECT_EQ(stride(true), 2 * policy::RateOptions::free_stride(100, false));
}

double norm_of_matrices(const std::vector<at::Tensor>& tensors) {
  double squares = 0;
  for (const at::Tensor& tensor : tensors) {
    if (tensor.dim() > 1) squares += tensor.to(at::kDouble).square().sum().item<double>();
  }
  return std::sqrt(squares);
}

/// What the stride is relative to, of matrices so many times as large as torch drew them, in units of the norm that
/// they are drawn with.
double stride_is_relative_to(const char* optimizer, double times) {
  ToyRun run(optimizer);
  for (const at::Tensor& parameter : run.model->parameters()) {
    const torch::NoGradGuard no_grad;
    if (parameter.dim() > 1) parameter.detach().mul_(times);
  }
  run.wrap(free_rate());
  std::vector<at::Tensor> moved = weights_of(run);
  run.train(1);
  const std::vector<at::Tensor> now = listed(run, "iterate.");
  for (std::size_t i = 0; i < now.size(); ++i) moved[i] = now[i] - moved[i];
  const double distance = free_rate().denoise_decay * norm_of_matrices(moved);
  const double drawn = std::sqrt((32 + 1) / 3.0);
  return distance / rate_state(run).at("distance").get<double>() / drawn;
}

TEST(Denoised, AStrideIsRelativeToTheNormButForMatricesThatHaveOutgrownTheirDraw) {
  EXPECT_NEAR(stride_is_relative_to("adamw", 0.25), 0.25, 0.02);
  EXPECT_NEAR(stride_is_relative_to("adamw", 8), 0.8, 0.02);
  EXPECT_NEAR(stride_is_relative_to("sgd", 0.25), 0.25, 0.02);
  EXPECT_NEAR(stride_is_relative_to("sgd", 8), 1.6, 0.02) << "with momentum they may grow";
  EXPECT_NEAR(stride_is_relative_to("adamw", 0), 1, 0.02) << "they begin at 0";
}

TEST(Denoised, AFreeRateKnowsHowStraightItsIteratesWent) {
  ToyRun run;
  const std::vector<at::Tensor> start = weights_of(run);
  run.wrap(free_rate());
  std::vector<at::Tensor> last = start;
  double path = 0;
  double straightness = 0;
  for (int step = 1; step <= 60; ++step) {
    run.train(1);
    // Of 100 steps, every second is a waypoint.
    if (step % 2 == 0) {
      const std::vector<at::Tensor> iterate = listed(run, "iterate.");
      ASSERT_EQ(iterate.size(), start.size());
      double from_start = 0;
      for (std::size_t i = 0; i < iterate.size(); ++i) {
        if (iterate[i].dim() < 2) continue;
        from_start += (iterate[i] - start[i]).square().sum().item<double>();
        path += (iterate[i] - last[i]).square().sum().item<double>();
      }
      last = iterate;
      straightness = from_start / path;
    }
    const double told = rate_state(run).at("straightness").get<double>();
    EXPECT_NEAR(told, straightness, 1e-4 * straightness) << step;
  }
  const json event = events_of(run, "rate").back();
  EXPECT_GT(event.at("reach").get<double>(), 0);
  EXPECT_GT(event.at("straightness").get<double>(), 0);
}

/// Weights that were trained for long, from which a stride of twice their norm leads uphill.
void settle(ToyRun& run) {
  for (const double rate : {1e-2, 1e-3}) {
    set_rate(run, rate);
    run.train(100);
  }
  set_rate(run, 3e-3);
  reset_state(*run.base);
}

Options too_long() {
  Options options = free_rate();
  options.rate.stride = 2;
  return options;
}

TEST(Denoised, AFreeRunWhoseFirstStepsGoTooFarBeginsAnew) {
  ToyRun run;
  settle(run);
  const std::vector<at::Tensor> start = weights_of(run);
  run.wrap(too_long());
  run.train(1);
  const at::Tensor mean = run.model->norm->running_mean.clone();
  while (rate_state(run).at("begun_anew") == 0) {
    ASSERT_LT(json::parse(run.leaps->state().json).at("step"), 25) << rate_state(run).dump();
    run.train(1);
  }
  EXPECT_TRUE(bitwise_equal(weights_of(run), start));
  EXPECT_TRUE(bitwise_equal(listed(run, "iterate."), start));
  EXPECT_TRUE(bitwise_equal(listed(run, "iterate_average."), start));
  EXPECT_TRUE(bitwise_equal(run.model->norm->running_mean, mean));
  const json event = events_of(run, "rate").back();
  EXPECT_EQ(event.at("reason"), "the first steps went too far: begun anew with half of the stride");
  EXPECT_DOUBLE_EQ(event.at("to").get<double>(), event.at("from").get<double>() / 64);
  EXPECT_EQ(rate_state(run).at("shorter"), 0.5);
  const std::int64_t before = run.leaps->memory_bytes();
  run.train(60);
  std::int64_t kept = 0;
  for (const at::Tensor& weight : start) kept += 4 * weight.numel();
  for (const at::Tensor& buffer : run.model->buffers()) kept += buffer.nbytes();
  EXPECT_EQ(before - run.leaps->memory_bytes(), kept) << "the start is let go of";
}

TEST(Denoised, AStrideThatFitsBeginsNothingAnew) {
  ToyRun run;
  run.wrap(free_rate());
  run.train(40);
  EXPECT_EQ(rate_state(run).at("begun_anew"), 0);
  EXPECT_EQ(rate_state(run).at("shorter"), 1);
}

TEST(Denoised, AFreeRunThatBeganAnewIsResumedBitwise) {
  const auto trained = [](int steps) {
    auto run = std::make_unique<ToyRun>();
    settle(*run);
    run->wrap(too_long());
    run->train(steps);
    return run;
  };
  const auto whole = trained(50);
  ASSERT_GT(rate_state(*whole).at("begun_anew").get<int>(), 0);
  for (const int stop : {4, 8, 12, 30}) {
    const auto first = trained(stop);
    const RandomState random = capture_random_state(toy_device());
    ToyRun second;
    second.wrap(too_long());
    second.go_on_from(*first, random);
    second.train(50 - stop);
    EXPECT_TRUE(bitwise_equal(whole->everything(), second.everything())) << "stopped at " << stop;
  }
}

TEST(Denoised, AFreeRatesWayBeginsAnewInARunOfAnotherLengthOrKind) {
  ToyRun run;
  run.wrap(free_rate());
  run.train(20);
  const LeapVerifyState state = run.leaps->state();
  EXPECT_EQ(rate_state(run).at("waypoints"), 10);
  Options longer = free_rate();
  longer.planned_steps = 400;
  run.wrap(longer);
  run.leaps->restore(state);
  EXPECT_EQ(rate_state(run).at("waypoints"), 0);
  run.train(10);
  EXPECT_EQ(rate_state(run).at("waypoints"), 1);
  EXPECT_DOUBLE_EQ(rate_state(run).at("straightness").get<double>(), 1)
      << "from where it began anew";
  Options bound = with_stride(0.1, denoised(OnAccept::kRate));
  bound.detector.signal = free_rate().detector.signal;
  run.wrap(bound);
  run.leaps->restore(state);
  EXPECT_EQ(rate_state(run).at("waypoints"), 0);
}

bool has_weights(const ToyRun& run, const std::vector<at::Tensor>& expected) {
  return bitwise_equal(weights_of(run), expected);
}

TEST(Denoised, AFreeRateEndsAtTheAverageOfItsIterates) {
  ToyRun run;
  run.wrap(free_rate());
  run.train(97);
  EXPECT_FALSE(has_weights(run, listed(run, "iterate_average.")));
  EXPECT_FALSE(has_weights(run, listed(run, "iterate."))) << "gradients are taken between both";
  run.train(1);
  EXPECT_TRUE(has_weights(run, listed(run, "iterate_average.")));
  EXPECT_FALSE(has_weights(run, listed(run, "iterate.")));
  run.train(4);
  EXPECT_TRUE(has_weights(run, listed(run, "iterate_average."))) << "as many steps more";
  run.train(1);
  EXPECT_FALSE(has_weights(run, listed(run, "iterate_average."))) << "a run that goes on";
}

TEST(Denoised, AFreeRateStepsItsIterateByGradientsOfTheWeights) {
  ToyRun run;
  run.wrap(free_rate());
  run.train(30);
  const std::vector<at::Tensor> before = listed(run, "iterate.");
  std::vector<at::Tensor> placed;
  for (const at::Tensor& parameter : run.model->parameters()) placed.push_back(parameter.clone());
  run.backward();
  const std::vector<at::Tensor> parameters = run.model->parameters();
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : parameters) gradients.push_back(parameter.grad().clone());
  // The bare optimizer's step from the same weights, with its state, the factor and less momentum.
  ToyRun bare;
  import_state(*bare.base, export_state(*run.base), "test");
  const double scale = run.leaps->status().learning_rate_scale;
  auto& options = static_cast<torch::optim::AdamWOptions&>(bare.base->param_groups()[0].options());
  options.lr(options.lr() * scale);
  options.betas({0.5, std::get<1>(options.betas())});
  {
    const torch::NoGradGuard no_grad;
    const std::vector<at::Tensor> theirs = bare.model->parameters();
    for (std::size_t i = 0; i < theirs.size(); ++i) {
      theirs[i].copy_(placed[i]);
      theirs[i].mutable_grad() = gradients[i];
    }
  }
  bare.base->step();
  run.leaps->step();
  const std::vector<at::Tensor> after = listed(run, "iterate.");
  const std::vector<at::Tensor> stepped = bare.model->parameters();
  for (std::size_t i = 0; i < after.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(after[i], before[i] + (stepped[i].detach() - placed[i]))) << i;
    EXPECT_FALSE(bitwise_equal(after[i], before[i])) << i;
  }
}

TEST(Denoised, AtItsAverageAFreeRunIsWhatItWasAfterwards) {
  ToyRun run;
  run.wrap(free_rate());
  run.train(30);
  const auto before = run.everything();
  EXPECT_THROW(run.leaps->at_average([&] {
    EXPECT_TRUE(has_weights(run, listed(run, "iterate_average.")));
    throw std::runtime_error("stop");
  }),
               std::runtime_error);
  EXPECT_TRUE(bitwise_equal(before, run.everything()));
}

TEST(Denoised, ALookAtTheAverageKeepsWhatChangedTheWeightsOfAFreeRun) {
  const auto trained = [](bool looks) {
    ToyRun run;
    run.wrap(free_rate());
    for (int step = 0; step < 30; ++step) {
      run.train(1);
      run.model->parameters().front().detach().clamp_(-0.1, 0.1);
      const auto before = run.everything();
      if (looks) run.leaps->at_average([] {});
      EXPECT_TRUE(bitwise_equal(before, run.everything()));
    }
    return run.everything();
  };
  EXPECT_TRUE(bitwise_equal(trained(false), trained(true)));
}

TEST(Denoised, AStepThatFailsLeavesTheWeightsOfAFreeRunWhereTheyWere) {
  ToyRun run;
  run.wrap(free_rate());
  run.train(30);
  const auto before = run.everything();
  const auto fail = [&](const std::function<at::Tensor()>& closure) {
    EXPECT_THROW(run.leaps->step(closure), std::exception);
    EXPECT_TRUE(bitwise_equal(before, run.everything()));
  };
  fail([]() -> at::Tensor { throw std::runtime_error("in the closure"); });
  // The base optimizer's own failure, before it has changed any weights.
  const at::Tensor first = run.model->parameters().front();
  const at::Tensor gradient = first.grad();
  first.mutable_grad() = torch::zeros({1}).to(first.device()).to_sparse();
  EXPECT_THROW(run.leaps->step(), std::exception);
  first.mutable_grad() = gradient;
  EXPECT_TRUE(has_weights(run, [&] {
    std::vector<at::Tensor> weights;
    for (const auto& [name, tensor] : before) {
      if (run.model->named_parameters().contains(name)) weights.push_back(tensor);
    }
    return weights;
  }()));
  EXPECT_EQ(
      std::get<0>(
          static_cast<torch::optim::AdamWOptions&>(run.base->param_groups()[0].options()).betas()),
      0.9);
}

TEST(Denoised, AFreeRunHasNoAverageBeforeItsIteratesBegin) {
  ToyRun before;
  before.wrap(denoised(OnAccept::kRate));
  before.train(20);
  ToyRun run;
  Options options = free_rate();
  options.detector.signal = denoised(OnAccept::kRate).detector.signal;
  run.wrap(options);
  run.train(3);
  run.leaps->restore(before.leaps->state());
  EXPECT_FALSE(run.leaps->has_average());
  const auto weights = run.everything();
  EXPECT_THROW(run.leaps->at_average([] {}), ContractError);
  EXPECT_TRUE(bitwise_equal(weights, run.everything()));
  run.train(1);
  EXPECT_TRUE(run.leaps->has_average());
}

TEST(Denoised, AFreeRateLowersMomentumForItsStepsOnly) {
  const auto run_with = [](double first_beta) {
    auto run = std::make_unique<ToyRun>();
    auto& options =
        static_cast<torch::optim::AdamWOptions&>(run->base->param_groups()[0].options());
    options.betas({first_beta, 0.999});
    run->wrap(free_rate());
    run->train(40);
    EXPECT_EQ(options.betas(), std::make_tuple(first_beta, 0.999));
    return run->everything();
  };
  const auto half = run_with(0.5);
  EXPECT_TRUE(bitwise_equal(half, run_with(0.9)));
  EXPECT_FALSE(bitwise_equal(half, run_with(0.4))) << "nor raised";
}

TEST(Denoised, AFreeRateIsTheSameWhateverTheScheduleAfterItsFirstStep) {
  const auto trained = [](double later) {
    ToyRun run;
    run.wrap(free_rate());
    run.train(1);
    set_rate(run, later);
    run.train(59);
    return run.model->first->weight.detach().clone();
  };
  EXPECT_TRUE(torch::allclose(trained(3e-3), trained(1e-5), 1e-3, 1e-4));
}

TEST(Denoised, AFreeRateWantsTheLengthOfTheRunAtItsFirstStep) {
  Options options = free_rate();
  options.planned_steps = 0;
  ToyRun run;
  run.wrap(options);
  const auto before = run.everything();
  try {
    run.leaps->step();
    ADD_FAILURE() << "stepped";
  } catch (const InvalidOption& error) {
    EXPECT_EQ(error.field(), "planned_steps");
  }
  EXPECT_TRUE(bitwise_equal(before, run.everything()));
}

TEST(Denoised, AFreeRateThatCannotBeIsRefused) {
  const auto refused = [](const std::string& field, const std::function<void(Options&)>& change) {
    Options options = free_rate();
    change(options);
    try {
      options.validate();
      ADD_FAILURE() << field << " accepted";
    } catch (const InvalidOption& error) {
      EXPECT_EQ(error.field(), field);
      if (field != "denoise_decay" && field != "rate.stride") {
        EXPECT_THAT(error.legal(),
                    testing::HasSubstr("to be left out with the presets auto and free"));
      }
    }
  };
  refused("reference", [](Options& o) { o.reference = Reference::kCurrent; });
  refused("denoise_decay", [](Options& o) { o.denoise_decay = 0; });
  refused("rate.stride", [](Options& o) { o.rate.stride = 2.1; });
  refused("on_accept", [](Options& o) { o.on_accept = OnAccept::kBoth; });
  refused("mode", [](Options& o) { o.mode = Mode::kShadow; });
  refused("rate.start", [](Options& o) { o.rate.start = 0.5; });
  refused("rate.largest", [](Options& o) { o.rate.largest = 4; });
  refused("rate.smallest", [](Options& o) { o.rate.smallest = 0.5; });
  refused("rate.look_back", [](Options& o) { o.rate.look_back = 3; });
  refused("rate.max_hold", [](Options& o) { o.rate.max_hold = 3; });
  refused("rate.anneal", [](Options& o) { o.rate.anneal = 0.2; });
  refused("gate", [](Options& o) { o.gate = GateSource::kNextBatch; });
  refused("batch_norm", [](Options& o) { o.batch_norm = BatchNormPolicy::kRecompute; });
  refused("verification.when", [](Options& o) { o.verification.when = policy::When::kRaced; });
  refused("first_leap", [](Options& o) { o.controller.first_leap = 20; });
  refused("max_backoff", [](Options& o) { o.controller.max_backoff = 2; });
  refused("trust_norm", [](Options& o) { o.trust_norm = 0.2; });
  refused("horizons", [](Options& o) { o.controller.horizons = {10}; });
  refused("detector.hysteresis", [](Options& o) { o.detector.hysteresis = 7; });
}

TEST(Denoised, AFreeRateTakesWhatItOrItsLooksRead) {
  const auto accepted = [](const std::function<void(Options&)>& change) {
    Options options = Options::automatic();
    options.planned_steps = 100;
    const std::vector<FieldText> before = field_texts(options);
    change(options);
    const std::vector<FieldText> after = field_texts(options);
    int changed = 0;
    for (std::size_t i = 0; i < after.size(); ++i)
      changed += before[i].value != after[i].value ? 1 : 0;
    EXPECT_EQ(changed, 1);
    EXPECT_NO_THROW(options.validate());
  };
  accepted([](Options& o) { o.observe_every = 5; });
  accepted([](Options& o) { o.denoise_decay = 0.8; });
  accepted([](Options& o) { o.rate.growth = 2; });
  accepted([](Options& o) { o.rate.stride = 0.2; });
  accepted([](Options& o) { o.rate.looks = 0; });
  accepted([](Options& o) { o.detector.signal = SignalKind::kActivationCosine; });
  accepted([](Options& o) { o.controller.max_overhead = 0.1; });
  accepted([](Options& o) { o.max_gate_passes = 2; });
  accepted([](Options& o) { o.trace_losses = true; });
  accepted([](Options& o) { o.verification.alpha = 0.01; });
  accepted([](Options& o) { o.verification.sequences = 8; });
  accepted([](Options& o) { o.verification.margin = 1e-3; });
  accepted([](Options& o) { o.verification.pilot = 4; });
  accepted([](Options& o) { o.verification.clip = 8; });
  accepted([](Options& o) { o.verification.max_sequences = 64; });
}

TEST(Denoised, WithoutProbesTheFallOfTheLossIsThatOfTheReferences) {
  ToyRun run;
  run.wrap(two_snapshots(OnAccept::kLeap));
  // A try evaluates reference and candidate, and both again for the value.
  run.change_losses = [n = 0](const at::Tensor& losses) mutable {
    return at::full_like(losses, n++ < 4 ? 8.0 : 7.5);
  };
  run.train(15);
  const std::vector<json> leaps = events_of(run, "leap");
  ASSERT_EQ(leaps.size(), 2u);
  EXPECT_EQ(leaps[0].at("fall_per_step"), 0) << "one point is no line";
  EXPECT_EQ(leaps[1].at("fall_per_step"), 0.5 / 5) << "the fall since the first try";
}

TEST(Denoised, ATryThatTheBudgetCannotPayIsNotMade) {
  // In sequences: the canary 6; reference and candidate 16 each; the value twice 16.
  for (const auto& [on_accept, needed] :
       {std::pair{OnAccept::kRate, 38}, {OnAccept::kLeap, 70}, {OnAccept::kBoth, 70}}) {
    for (const int missing : {1, 0}) {
      ToyRun run;
      Options options = two_snapshots(on_accept);
      options.planned_steps = 100;
      // A step costs 48; a little more than the number against rounding.
      options.controller.max_overhead = (needed - missing + 0.01) / 4800;
      run.wrap(options);
      run.train(10);
      EXPECT_EQ(events_of(run, "leap").size(), missing == 0 ? 1u : 0u)
          << name_of(on_accept) << " " << missing;
    }
  }
}

TEST(Denoised, ATryEndsWhereTheBudgetDoes) {
  Options options = two_snapshots(OnAccept::kRate);
  options.verification.rule = policy::Rule::kSequential;
  options.verification.margin = 0;
  options.verification.max_sequences = 96;
  options.planned_steps = 100;
  // The canary, and two helpings of 16 for each side.
  options.controller.max_overhead = (6 + 64 + 0.01) / 4800;
  ToyRun run;
  run.wrap(options);
  // Gains of either sign by turns decide nothing.
  const at::Tensor wave = at::arange(128).remainder(2).mul(2).sub(1).to(toy_device(), at::kFloat);
  run.change_losses = [&, n = 0](const at::Tensor& losses) mutable {
    return at::zeros_like(losses) + wave.narrow(0, 0, losses.size(0)) * static_cast<double>(n++);
  };
  run.train(100);
  const std::vector<json> candidates = events_of(run, "candidate");
  ASSERT_EQ(candidates.size(), 1u);
  EXPECT_EQ(candidates[0].at("verdict"), "rejected");
  EXPECT_EQ(candidates[0].at("reason"), "overhead cap reached");
  EXPECT_EQ(candidates[0].at("pairs"), 32);
  EXPECT_EQ(run.leaps->status().ledger.forwards(), 70);
}

TEST(Denoised, ResumedWithTheRateNoLongerAllowedToMoveTheScaleIsOne) {
  ToyRun raised;
  raised.wrap(two_snapshots(OnAccept::kRate));
  raised.train(20);
  ASSERT_GT(raised.leaps->status().learning_rate_scale, 1);
  for (const int what : {0, 1, 2}) {
    Options options = two_snapshots(what == 0 ? OnAccept::kLeap : OnAccept::kRate);
    if (what == 1) options.enabled = false;
    if (what == 2) options.mode = Mode::kShadow;
    ToyRun resumed;
    resumed.wrap(options);
    resumed.go_on_from(raised, capture_random_state(toy_device()));
    EXPECT_EQ(resumed.leaps->status().learning_rate_scale, 1) << what;
    resumed.train(1);
    const json told = events_of(resumed, "rate").at(0);
    EXPECT_EQ(told.at("reason"), "other options");
    EXPECT_EQ(told.at("from"), raised.leaps->status().learning_rate_scale);
    EXPECT_EQ(told.at("to"), 1);
  }
}

TEST(Denoised, StateForAnotherReferenceIsRefused) {
  ToyRun denoised_run;
  denoised_run.wrap(two_snapshots(OnAccept::kRate));
  denoised_run.train(10);
  ToyRun current;
  Options options = two_snapshots(OnAccept::kRate);
  options.reference = Reference::kCurrent;
  current.wrap(options);
  try {
    current.leaps->restore(denoised_run.leaps->state());
    FAIL() << "accepted";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("for reference denoised, not for current"));
  }
}

TEST(Denoised, EvaluatorThatAlwaysThrowsIsAskedNoMoreThanThreeTimes) {
  ToyRun run;
  Options options = denoised(OnAccept::kRate);
  options.controller.max_backoff = 8;
  run.wrap(options);
  run.before_evaluation = [] { throw std::runtime_error("out of candles"); };
  run.train(200);
  EXPECT_EQ(run.leaps->status().off_reason, "out of candles");
  EXPECT_EQ(run.evaluations, 3);
}

TEST(Denoised, MomentumIsPredictedAtTheScaledRate) {
  ToyRun run;
  Options options = accepting_options();
  options.on_accept = OnAccept::kRate;
  options.predictor.kind = policy::PredictorKind::kMomentum;
  options.controller.horizons = {5};
  options.rate.growth = 2;
  options.rate.look_back = 30;
  options.probes = 0;
  run.wrap(options);
  at::Tensor candidate;
  run.before_evaluation = [&] { candidate = run.model->first->weight.detach().clone(); };
  run.train(10);  // tries at steps 5 and 10, the second at twice the rate
  const at::Tensor now = run.model->first->weight.detach().clone();
  const TensorList weights(run.model->parameters());
  const TensorList backup = weights.allocate_like(TensorList::Precision::kSame);
  LeapTransaction transaction(weights, backup);
  transaction.write(momentum_ahead(TorchOptimizer(*run.base), 5, /*half=*/false));
  const at::Tensor unscaled = weights.tensors()[0].detach() - now;
  EXPECT_TRUE(torch::allclose(candidate - now, 2 * unscaled, 1e-3, 1e-6));
}

TEST(Denoised, ResumedRunIsBitwiseTheUninterruptedOne) {
  Options options = Options();
  options.observe_every = 5;
  options.on_accept = OnAccept::kBoth;
  options.controller.first_leap = 0;
  options.controller.max_overhead = std::numeric_limits<double>::infinity();
  options.verification.sequences = 16;
  options.verification.max_sequences = 64;
  options.rate.growth = 1.2;
  for (const int stop : {3, 21, 33, 50}) {
    ToyRun whole;
    whole.wrap(options);
    whole.train(70);
    ASSERT_GT(whole.leaps->status().learning_rate_scale, 1);
    ASSERT_FALSE(events_of(whole, "leap").empty());
    expect_resumed_is(whole, options, stop, 70);
  }
}

TEST(TrustRegion, BoundsALeapByThePathAndByTheNormOfTheWeights) {
  // At the first try the path is the one move between the two snapshots, and the linear prediction
  // at twice that horizon is a leap of twice its length.
  struct Case {
    double path, norm;
    const char* verdict;
    const char* reason;
  };
  for (const Case& expected :
       {Case{2.1, 1e9, "accepted", "within"}, Case{1.9, 1e9, "rejected", "beyond the trust region"},
        Case{1e9, 1e-9, "rejected", "beyond the trust region"}}) {
    for (const Reference reference : {Reference::kCurrent, Reference::kDenoised}) {
      ToyRun run;
      Options options = accepting_options();
      options.reference = reference;
      options.controller.horizons = {10};
      options.trust_path = expected.path;
      options.trust_norm = expected.norm;
      run.wrap(options);
      run.train(10);
      const json candidate = events_of(run, "candidate").at(0);
      EXPECT_EQ(candidate.at("verdict"), expected.verdict) << expected.path;
      EXPECT_THAT(candidate.at("reason"), HasSubstr(expected.reason));
      EXPECT_EQ(candidate.contains("candidate_loss"), expected.verdict == std::string("accepted"));
    }
  }
}

TEST(TrustRegion, HasAPathForMomentumToo) {
  ToyRun run;
  Options options = accepting_options();
  options.predictor.kind = policy::PredictorKind::kMomentum;
  options.controller.horizons = {1};
  options.trust_path = 5;
  run.wrap(options);
  run.train(20);
  EXPECT_GT(run.leaps->status().ledger.accepted, 0);
}

TEST(TrustRegion, AddsUpThePath) {
  const Walk walk(15);
  double path = 0;
  for (int i = 10; i <= 15; i += 5) {
    path += (walk.averages[static_cast<std::size_t>(i)] -
             walk.averages[static_cast<std::size_t>(i - 5)])
                .norm()
                .item<double>();
  }
  ToyRun run;
  Options options = denoised(OnAccept::kLeap);
  options.trust_path = 1e9;
  options.mode = Mode::kShadow;
  run.wrap(options);
  run.train(15);
  const double traced = json::parse(run.leaps->state().json).at("path");
  EXPECT_GT(traced, path) << "the other tensors have moved too";
  EXPECT_LT(traced, 10 * path);
}

}  // namespace
}  // namespace leapverify

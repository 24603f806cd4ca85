// What a worker hands over, and that whatever becomes of it the run goes on.
#include <gmock/gmock.h>
#include <leapverify/runtime/speculation.h>

#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using nlohmann::json;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kSteps = 5;

/// Trains in this process, when it is asked for the result.
class ToyWorker : public SpeculativeWorker {
 public:
  enum class Fault { kNone, kAtStart, kAtFinish, kNotFinite };

  explicit ToyWorker(Fault fault = Fault::kNone)
      : fault_(fault), random_(capture_random_state(toy_device())) {
    training_ = std::make_unique<ToyRun>();
    restore_random_state(random_, toy_device());
  }

  void start(const SpeculativeJob& job) override {
    if (fault_ == Fault::kAtStart) throw WorkerError("no process");
    job_ = job;
  }

  SpeculativeResult finish(std::chrono::milliseconds) override {
    if (fault_ == Fault::kAtFinish) throw WorkerError("the worker was killed by signal 9");
    const RandomState random = capture_random_state(toy_device());
    const at::AutoGradMode with_gradients(true);
    std::vector<at::Tensor> weights = training_->model->parameters();
    {
      const torch::NoGradGuard no_grad;
      for (std::size_t i = 0; i < weights.size(); ++i) weights[i].copy_(job_.weights[i]);
    }
    import_state(*training_->base, job_.optimizer, "test");
    training_->progress = job_.position;
    training_->train(static_cast<int>(job_.steps));
    SpeculativeResult result;
    for (const at::Tensor& weight : weights)
      result.weights.push_back(weight.detach().cpu().clone());
    if (fault_ == Fault::kNotFinite) result.weights[0].fill_(std::nan(""));
    result.optimizer = export_state(*training_->base);
    restore_random_state(random, toy_device());
    last = result;
    return result;
  }

  void cancel() noexcept override { ++cancelled; }

  SpeculativeResult last;
  int cancelled = 0;

 private:
  Fault fault_;
  RandomState random_;
  std::unique_ptr<ToyRun> training_;
  SpeculativeJob job_;
};

/// Accepts whatever is offered, and tries nothing itself.
Options listening_options() {
  Options options = accepting_options();
  options.controller.first_leap = 1000000;
  return options;
}

policy::SpeculationOptions near_enough() {
  policy::SpeculationOptions options;
  options.steps = kSteps;
  options.max_distance = 100;
  return options;
}

struct SpeculativeRun : ToyRun {
  SpeculativeRun(const Options& options, const policy::SpeculationOptions& speculation_options,
                 ToyWorker::Fault fault = ToyWorker::Fault::kNone) {
    wrap(options);
    speculation = std::make_unique<Speculation>(
        speculation_options, *leaps, *base, *this,
        [this, fault] {
          auto made = std::make_unique<ToyWorker>(fault);
          worker = made.get();
          return made;
        },
        [this](const std::string& event) { trace.push_back(event); });
  }

  /// Until so many steps of the run are done, the worker's included; fewer are made.
  void train_to(std::int64_t planned) {
    while (step < planned) {
      backward();
      leaps->step();
      ++step;
      step += speculation->after_step(step, 1000);
    }
  }

  std::vector<std::string> outcomes() const {
    std::vector<std::string> all;
    for (const json& event : events_of(*this, "speculation")) all.push_back(event.at("outcome"));
    return all;
  }

  std::unique_ptr<Speculation> speculation;
  ToyWorker* worker = nullptr;
  std::int64_t step = 0;
};

/// The run without a worker, so many steps long.
std::vector<std::pair<std::string, at::Tensor>> without_worker(int steps) {
  ToyRun run;
  run.wrap(listening_options());
  run.train(steps);
  return run.everything();
}

TEST(Speculation, TakesWeightsOptimizerAndPositionsOver) {
  SpeculativeRun run(listening_options(), near_enough());
  run.train_to(15);
  // From step 10 on, when two snapshots are known, to step 15, and then five more by the worker.
  EXPECT_EQ(run.step, 20);
  EXPECT_EQ(run.progress.data, 20);
  EXPECT_EQ(run.progress.schedule, 20);
  EXPECT_EQ(run.leaps->status().step, 20);
  EXPECT_EQ(run.leaps->status().ledger.steps_saved, 0) << "the budget takes no credit for them";
  EXPECT_EQ(run.speculation->handoffs(), 1);
  const std::vector<at::Tensor> weights = run.model->parameters();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(weights[i].detach().cpu(), run.worker->last.weights[i]));
  }
  const OptimizerState state = export_state(*run.base);
  EXPECT_EQ(state.json, run.worker->last.optimizer.json);
  for (std::size_t i = 0; i < state.tensors.size(); ++i) {
    EXPECT_TRUE(
        bitwise_equal(state.tensors[i].second, run.worker->last.optimizer.tensors[i].second));
  }
  const json event = events_of(run, "speculation").at(0);
  EXPECT_EQ(event.at("outcome"), "handed_over");
  EXPECT_EQ(event.at("step"), 15);
  EXPECT_GT(event.at("distance"), 0);
  EXPECT_GT(event.at("way"), 0);
  EXPECT_GT(event.at("pairs"), 0);
  EXPECT_GT(event.at("forwards"), 0);
  // And so on: two snapshots later the next job begins.
  run.train_to(60);
  EXPECT_GT(run.speculation->handoffs(), 1);
}

TEST(Speculation, AtTheAverageToo) {
  Options options = listening_options();
  options.reference = Reference::kDenoised;
  SpeculativeRun run(options, near_enough());
  run.train_to(15);
  EXPECT_EQ(run.step, 20);
  const std::vector<at::Tensor> weights = run.model->parameters();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(weights[i].detach().cpu(), run.worker->last.weights[i]));
  }
  run.train_to(40);
  EXPECT_TRUE(std::isfinite(run.model->parameters()[0].sum().item<double>()));
}

TEST(Speculation, WhoArrivesFarAwayLooksAtNothing) {
  policy::SpeculationOptions options = near_enough();
  options.max_distance = 1e-9;
  SpeculativeRun run(listening_options(), options);
  const int before = run.evaluations;
  run.train_to(15);
  EXPECT_TRUE(bitwise_equal(run.everything(), without_worker(15)));
  EXPECT_THAT(run.outcomes(), ElementsAre("rejected"));
  EXPECT_THAT(std::string(events_of(run, "speculation").at(0).at("reason")), HasSubstr("too far"));
  EXPECT_EQ(run.evaluations - before, 3) << "the probes at three observations";
  EXPECT_EQ(run.worker->cancelled, 1);
}

TEST(Speculation, WhatIsNotVerifiedLeavesNoTrace) {
  Options options = listening_options();
  options.verification.rule = policy::Rule::kStrict;
  options.verification.margin = 1e6;
  SpeculativeRun run(options, near_enough());
  run.train_to(40);
  EXPECT_TRUE(bitwise_equal(run.everything(), without_worker(40)));
  EXPECT_THAT(run.outcomes(), testing::SizeIs(testing::Ge(3u)));
  EXPECT_THAT(run.outcomes(), Each("rejected"));
  EXPECT_EQ(run.speculation->handoffs(), 0);
}

TEST(Speculation, NoneBeginsOnceTheGateSequencesAreUsedUp) {
  Options options = listening_options();
  options.verification.rule = policy::Rule::kStrict;
  options.verification.margin = 1e6;
  options.max_gate_passes = 1;
  SpeculativeRun run(options, near_enough());
  run.train_to(400);
  std::vector<std::int64_t> judged;
  std::int64_t in_vain = 0;
  for (const json& event : events_of(run, "speculation")) {
    if (event.at("forwards") > 0) judged.push_back(event.at("step"));
    if (event.at("forwards") == 0) ++in_vain;
  }
  EXPECT_THAT(judged, testing::SizeIs(testing::Ge(1u)));
  EXPECT_LT(judged.back(), 350);
  EXPECT_EQ(in_vain, 0);
}

TEST(Speculation, NoneBeginsOnceTheBudgetIsSpent) {
  Options options = listening_options();
  options.verification.rule = policy::Rule::kStrict;
  options.verification.margin = 1e6;
  options.planned_steps = 400;
  // In sequences: a step costs 32; the canary and some offers.
  options.controller.max_overhead = 100.0 / (400 * 32);
  SpeculativeRun run(options, near_enough());
  run.train_to(400);
  const auto events = events_of(run, "speculation");
  ASSERT_FALSE(events.empty());
  EXPECT_LT(events.back().at("step"), 100);
  EXPECT_EQ(run.worker->cancelled, 0) << "nor is one in vain";
}

TEST(Speculation, NoneBeginsWhileARaisedRateIsAboutToChange) {
  Options options = listening_options();
  options.on_accept = OnAccept::kRate;
  options.reference = Reference::kDenoised;
  options.controller.first_leap = 0;
  options.controller.horizons = {10};
  SpeculativeRun run(options, near_enough());
  while (run.step < 60) {
    for (auto& group : run.base->param_groups()) {
      group.options().set_lr(1e-5 * static_cast<double>(run.step + 1));
    }
    run.backward();
    run.leaps->step();
    ++run.step;
    run.step += run.speculation->after_step(run.step, 1000);
  }
  ASSERT_GT(run.leaps->status().learning_rate_scale, 1);
  for (const json& event : events_of(run, "speculation")) EXPECT_LE(event.at("step"), 15);
}

TEST(Speculation, WithLeapsDisabledThereIsNothingToTrainFrom) {
  Options options = listening_options();
  options.enabled = false;
  ToyRun run;
  run.wrap(options);
  run.train(20);
  EXPECT_TRUE(run.leaps->predict(5).empty());
  EXPECT_EQ(run.leaps->offer_obstacle(), "leaps are disabled");
}

TEST(Speculation, AWorkerThatFailsCostsItsJobAndAfterThreeThereAreNoMore) {
  using Fault = ToyWorker::Fault;
  for (const Fault fault : {Fault::kAtStart, Fault::kAtFinish, Fault::kNotFinite}) {
    SpeculativeRun run(listening_options(), near_enough(), fault);
    run.train_to(60);
    EXPECT_TRUE(bitwise_equal(run.everything(), without_worker(60)));
    EXPECT_THAT(run.outcomes(), ElementsAre("failed", "failed", "failed"));
    const auto events = events_of(run, "speculation");
    EXPECT_EQ(events[1].at("off"), false);
    EXPECT_EQ(events[2].at("off"), true);
    EXPECT_EQ(run.speculation->off_reason(), events[2].at("reason"));
    EXPECT_EQ(run.speculation->failures(), 3);
    EXPECT_EQ(run.speculation->last_failure(), events[2].at("reason"));
  }
}

TEST(Speculation, ALeapOfTheRunMeanwhileEndsTheJob) {
  Options options = accepting_options();
  options.data = DataPolicy::kSkip;
  options.controller.first_leap = 12;
  options.controller.horizons = {2};
  SpeculativeRun run(options, near_enough());
  run.train_to(15);
  EXPECT_EQ(run.step, 15);
  EXPECT_THAT(std::string(events_of(run, "speculation").at(0).at("reason")),
              HasSubstr("moved data or schedule"));
}

TEST(Speculation, ResumedInTheMidstOfAJobIsTheUninterruptedRun) {
  SpeculativeRun whole(listening_options(), near_enough());
  whole.train_to(40);
  SpeculativeRun first(listening_options(), near_enough());
  first.train_to(12);
  const RandomState random = capture_random_state(toy_device());
  SpeculativeRun second(listening_options(), near_enough());
  second.go_on_from(first, random);
  second.step = first.step;
  second.speculation->restore(first.speculation->state());
  second.speculation->go_on();
  restore_random_state(random, toy_device());
  second.train_to(40);
  EXPECT_EQ(second.step, whole.step);
  EXPECT_TRUE(bitwise_equal(second.everything(), whole.everything()));
  EXPECT_EQ(second.speculation->handoffs(), whole.speculation->handoffs());
}

TEST(Speculation, ARaceIsBetweenTwoBranchesOfTheSameSteps) {
  policy::SpeculationOptions options = near_enough();
  options.kind = SpeculationKind::kRace;
  options.max_distance = 1e-9;
  SpeculativeRun run(listening_options(), options);
  run.train_to(15);
  EXPECT_EQ(run.step, 15);
  EXPECT_EQ(run.progress.data, 15);
  EXPECT_EQ(run.leaps->status().step, 15);
  EXPECT_THAT(run.outcomes(), ElementsAre("handed_over"));
  const std::vector<at::Tensor> weights = run.model->parameters();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(weights[i].detach().cpu(), run.worker->last.weights[i]));
  }
  EXPECT_FALSE(bitwise_equal(run.everything(), without_worker(15)));
}

TEST(Speculation, TheNextJobBeginsAtOnceFromTheWayLastWalked) {
  SpeculativeRun run(listening_options(), near_enough());
  run.train_to(15);
  const std::vector<at::Tensor> then = run.worker->last.weights;
  ASSERT_EQ(run.step, 20);
  ASSERT_TRUE(json::parse(run.speculation->state().json).contains("job"));
  run.train_to(25);
  EXPECT_EQ(run.step, 30);
  EXPECT_EQ(run.speculation->handoffs(), 2);
}

TEST(Speculation, AHandoverInTheMidstOfACascadeEndsIt) {
  Options options = accepting_options();
  // Where snapshots outlast a leap, so that a job can begin within a cascade.
  options.reference = Reference::kDenoised;
  options.controller.cascade = 3;
  options.controller.horizons = {7};
  SpeculativeRun run(options, near_enough());
  run.train_to(100);
  const auto events = events_of(run, "speculation");
  std::int64_t handed_over = 0;
  for (const json& event : events) {
    if (event.at("outcome") == "handed_over" && event.at("step") < 60)
      handed_over = event.at("step");
  }
  ASSERT_GT(handed_over, 0);
  EXPECT_GE(events_of(run, "observation").back().at("step"), 90) << "it goes on observing";
}

TEST(Speculation, AStateThatDoesNotFitIsRefused) {
  SpeculativeRun run(listening_options(), near_enough());
  run.train_to(12);
  const LeapVerifyState state = run.speculation->state();
  json data = json::parse(state.json);
  ASSERT_TRUE(data.contains("job"));
  const auto refused = [&](const LeapVerifyState& damaged) {
    SpeculativeRun other(listening_options(), near_enough());
    EXPECT_THROW(other.speculation->restore(damaged), FormatError);
  };
  refused({"{", state.tensors});
  LeapVerifyState fewer = state;
  fewer.tensors.erase(fewer.tensors.begin());
  refused(fewer);
  data["job"]["weights"] = 1;
  refused({data.dump(), state.tensors});
  data["job"].erase("rate_scale");
  refused({data.dump(), state.tensors});
}

TEST(Speculation, NoneBeginsThatWouldEndAfterTheRun) {
  SpeculativeRun run(listening_options(), near_enough());
  for (run.step = 1; run.step <= 19; ++run.step) {
    run.backward();
    run.leaps->step();
    EXPECT_EQ(run.speculation->after_step(run.step, 19), 0);
  }
  EXPECT_EQ(run.worker, nullptr);
}

TEST(Speculation, DistanceIsHeldAgainstTheWayOrTheNorm) {
  const policy::Arrival arrival{1, 4, 50};
  EXPECT_EQ(relative_distance(arrival, DistanceScale::kWay), 0.25);
  EXPECT_EQ(relative_distance(arrival, DistanceScale::kNorm), 0.02);
  EXPECT_EQ(policy::relative_distance({0, 0, 1}, DistanceScale::kWay), HUGE_VAL);
}

}  // namespace
}  // namespace leapverify

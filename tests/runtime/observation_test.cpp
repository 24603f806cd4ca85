// What observations tell of the regime: from the moves between snapshots, from activations, at the
// learning rate that was spent.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/safetensors.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/resumed.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr std::int64_t kNever = std::int64_t{1} << 40;

/// Observations every fifth step that lead to no try.
Options observing(SignalKind signal, Reference reference = Reference::kCurrent) {
  Options options = eager_options();
  options.controller.first_leap = kNever;
  options.detector.signal = signal;
  options.reference = reference;
  options.probes = signal == SignalKind::kActivationCosine ? 8 : 0;
  return options;
}

void set_rate(ToyRun& run, double rate) {
  for (auto& group : run.base->param_groups()) group.options().set_lr(rate);
}

/// All weights as one vector of doubles.
at::Tensor all_weights(const ToyRun& run) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& parameter : run.model->parameters()) {
    parts.push_back(parameter.detach().flatten().to(at::kDouble));
  }
  return torch::cat(parts);
}

TEST(DeltaCosine, IsThatOfTheLastTwoMovesOfWhatPredictionsStartFrom) {
  for (const Reference reference : {Reference::kCurrent, Reference::kDenoised}) {
    Options options = observing(SignalKind::kDeltaCosine, reference);
    options.denoise_decay = 0.75;
    ToyRun run;
    run.wrap(options);
    at::Tensor place = all_weights(run);
    std::vector<at::Tensor> places;
    for (int step = 1; step <= 20; ++step) {
      run.train(1);
      const at::Tensor weights = all_weights(run);
      place = reference == Reference::kCurrent ? weights : 0.75 * place + 0.25 * weights;
      if (step % 5 == 0) places.push_back(place);
    }
    const std::vector<json> events = events_of(run, "observation");
    ASSERT_EQ(events.size(), 4u);
    EXPECT_FALSE(events[0].contains("signal"));
    EXPECT_FALSE(events[1].contains("signal")) << "one move has no angle";
    for (std::size_t i = 2; i < events.size(); ++i) {
      const at::Tensor move = places[i] - places[i - 1];
      const at::Tensor before = places[i - 1] - places[i - 2];
      const double cosine = (move.dot(before) / (move.norm() * before.norm())).item<double>();
      EXPECT_NEAR(events[i].at("signal").get<double>(), cosine, 1e-4) << name_of(reference);
    }
    EXPECT_EQ(run.evaluations, 0) << "no forward pass is taken for it";
  }
}

TEST(DeltaCosine, IsToldByTheDefaultsWithoutAnyProbe) {
  ToyRun run;
  Options options;
  options.observe_every = 5;
  options.controller.first_leap = kNever;
  options.detector.burn_in = 1;
  options.verification.max_sequences = 64;  // the toy's gate set holds no more
  run.wrap(options);
  run.train(100);
  std::set<std::string> regimes;
  for (const json& event : events_of(run, "observation")) {
    regimes.insert(event.at("regime").get<std::string>());
  }
  EXPECT_GT(regimes.size(), 1u);
  EXPECT_EQ(run.evaluations, 0);
}

TEST(DeltaCosine, BeginsAnewAfterALeapUnlessTheSnapshotsAreCarriedAlong) {
  for (const Reference reference : {Reference::kCurrent, Reference::kDenoised}) {
    Options options = accepting_options();
    options.detector.signal = SignalKind::kDeltaCosine;
    options.reference = reference;
    options.controller.first_leap = 15;
    options.controller.horizons = {5};
    options.detector.thresholds = ThresholdKind::kFixed;
    options.detector.stable_at_least = -2;
    options.detector.chaotic_at_most = -3;
    ToyRun run;
    run.wrap(options);
    run.train(20);
    const std::vector<json> leaps = events_of(run, "leap");
    ASSERT_FALSE(leaps.empty());
    ASSERT_EQ(leaps[0].at("step"), 15);
    ASSERT_EQ(leaps[0].at("outcome"), "committed");
    const json after = events_of(run, "observation").at(3);
    EXPECT_EQ(after.contains("signal"), reference == Reference::kDenoised);
    EXPECT_EQ(after.at("regime"), "transition") << "stability must be seen anew";
  }
}

TEST(DeltaCosine, KeepsThreeSnapshots) {
  ToyRun activations, moves;
  activations.wrap(observing(SignalKind::kActivationCosine));
  moves.wrap(observing(SignalKind::kDeltaCosine));
  std::int64_t weights = 0;
  for (const at::Tensor& parameter : moves.model->parameters()) {
    weights += static_cast<std::int64_t>(parameter.nbytes());
  }
  EXPECT_EQ(moves.leaps->memory_bytes() - activations.leaps->memory_bytes(), weights)
      << "linear alone needs two";
}

TEST(DeltaCosine, ProbesBesideItAreAskedForTheirLossesOnly) {
  Options options = observing(SignalKind::kDeltaCosine);
  options.probes = 8;
  ToyRun run;
  run.integer_activations = true;  // which would be refused
  run.wrap(options);
  run.train(15);
  EXPECT_TRUE(events_of(run, "failure").empty());
  EXPECT_EQ(run.leaps->status().ledger.probe_forwards, 24);
  for (const json& event : events_of(run, "observation")) EXPECT_TRUE(event.contains("probe_loss"));
}

TEST(DeltaCosine, LeapsWaitForItsRegime) {
  Options options = accepting_options();
  options.detector.signal = SignalKind::kDeltaCosine;
  options.probes = 0;
  options.controller.least_regime = Regime::kStable;
  options.detector.thresholds = ThresholdKind::kFixed;
  options.detector.stable_at_least = -2;
  options.detector.chaotic_at_most = -3;
  options.detector.hysteresis = 2;
  ToyRun run;
  run.wrap(options);
  run.train(20);
  // The third observation has the first signal, and two in a row must be stable.
  ASSERT_EQ(events_of(run, "leap").size(), 1u);
  EXPECT_EQ(events_of(run, "leap")[0].at("step"), 20);
  EXPECT_EQ(events_of(run, "observation").at(2).at("reason"), "regime");
}

class EverySignal : public testing::TestWithParam<SignalKind> {};
INSTANTIATE_TEST_SUITE_P(All, EverySignal,
                         testing::Values(SignalKind::kActivationCosine, SignalKind::kDeltaCosine),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST_P(EverySignal, PerRateAtAConstantRateIsBitwiseTheRawOne) {
  Options options = observing(GetParam());
  ToyRun raw;
  raw.wrap(options);
  raw.train(60);
  options.detector.per_rate = true;
  ToyRun normalised;
  normalised.wrap(options);
  normalised.train(60);
  const std::vector<json> expected = events_of(raw, "observation");
  std::vector<json> events = events_of(normalised, "observation");
  ASSERT_EQ(events.size(), expected.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (events[i].contains("signal")) {
      EXPECT_EQ(events[i].at("cosine"), events[i].at("signal"));
      EXPECT_NEAR(events[i].at("rate").get<double>(), 3e-3, 1e-12);
    }
    events[i].erase("cosine");
    events[i].erase("rate");
    EXPECT_EQ(events[i], expected[i]);
  }
}

TEST_P(EverySignal, RateIsTheMeanOfTheStepsSinceTheLastObservation) {
  Options options = observing(GetParam());
  options.detector.per_rate = true;
  ToyRun run;
  run.wrap(options);
  for (int step = 1; step <= 20; ++step) {
    set_rate(run, 1e-4 * step);
    run.train(1);
  }
  const json last = events_of(run, "observation").back();
  EXPECT_NEAR(last.at("rate").get<double>(), 1e-4 * 18, 1e-12);
  EXPECT_EQ(last.at("signal"), last.at("cosine")) << "the largest so far";
}

TEST_P(EverySignal, RateIsTheScaledOneWhereTheScaleMoves) {
  Options options = accepting_options();
  options.detector.signal = GetParam();
  options.detector.per_rate = true;
  options.controller.first_leap = 15;
  options.controller.horizons = {5};
  options.on_accept = OnAccept::kRate;
  options.rate.growth = 2;
  options.rate.look_back = 30;
  ToyRun run;
  run.wrap(options);
  run.train(20);
  ASSERT_EQ(run.leaps->status().learning_rate_scale, 4);
  const std::vector<json> events = events_of(run, "observation");
  EXPECT_NEAR(events.at(2).at("rate").get<double>(), 3e-3, 1e-12);
  EXPECT_NEAR(events.at(3).at("rate").get<double>(), 6e-3, 1e-12);
}

TEST_P(EverySignal, ResumedInTheMiddleOfTheHysteresisIsBitwiseTheUninterruptedRun) {
  Options options = accepting_options();
  options.detector.signal = GetParam();
  options.detector.per_rate = true;
  options.detector.thresholds = ThresholdKind::kPercentile;
  options.detector.burn_in = 2;
  options.detector.hysteresis = 2;
  options.detector.stable_percentile = 30;
  options.detector.chaotic_percentile = 10;
  options.controller.least_regime = Regime::kStable;
  options.reference = Reference::kDenoised;
  options.probes = GetParam() == SignalKind::kActivationCosine ? 8 : 0;
  const auto train = [](ToyRun& run, int steps) {
    for (int i = 0; i < steps; ++i) {
      set_rate(run, 3e-3 / (1 + 0.02 * static_cast<double>(run.progress.data)));
      run.train(1);
    }
  };
  ToyRun whole;
  whole.wrap(options);
  train(whole, 120);
  std::set<std::string> readings, regimes, actions;
  for (const json& event : events_of(whole, "observation")) {
    readings.insert(event.value("reading", "none"));
    regimes.insert(event.at("regime").get<std::string>());
    actions.insert(event.value("reason", "try"));
  }
  ASSERT_THAT(readings, testing::IsSupersetOf({"chaotic", "transition", "stable"}));
  ASSERT_GT(regimes.size(), 1u);
  ASSERT_THAT(actions, testing::IsSupersetOf({"try", "regime"}));
  for (const int stop : {7, 20, 27, 35, 83}) expect_resumed_is(whole, options, stop, 120, train);
}

TEST(Observation, StateOfAnotherSignalIsRefused) {
  ToyRun by_activations, by_moves;
  by_activations.wrap(observing(SignalKind::kActivationCosine));
  by_moves.wrap(observing(SignalKind::kDeltaCosine));
  by_activations.train(10);
  try {
    by_moves.leaps->restore(by_activations.leaps->state());
    FAIL() << "accepted";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("told from activation_cosine, not from delta_cosine"));
  }
}

/// Slides down one side of a wide bowl, ½‖W − W*‖² with W* far away: every step moves the weights
/// nearly the same way, as far as the learning rate says.
struct Slide {
  explicit Slide(const Options& options) {
    torch::manual_seed(3);
    layer = torch::nn::Linear(torch::nn::LinearOptions(4, 8).bias(false));
    layer->to(toy_device(), torch::kDouble);
    target = layer->weight.detach() + 100 * torch::randn({8, 4}, torch::kDouble).to(toy_device());
    sgd = std::make_unique<torch::optim::SGD>(layer->parameters(), 1e-5);
    const torch::Tensor gate = toy_inputs(5, 128).narrow(1, 0, 4).to(torch::kDouble);
    evaluator = std::make_unique<BatchEvaluator>(
        gate, gate, kToyBatch, [this](const at::Tensor& x, const at::Tensor&) {
          const at::Tensor activations = layer->forward(x);
          return Evaluation{activations.square().sum(1), activations};
        });
    leaps = std::make_unique<LeapVerify>(
        *sgd, layer, options, *evaluator,
        [this](const std::string& event) { events.push_back(json::parse(event)); });
  }

  void step(double rate) {
    for (auto& group : sgd->param_groups()) group.options().set_lr(rate);
    sgd->zero_grad();
    (0.5 * (layer->weight - target).square().sum()).backward();
    leaps->step();
  }

  torch::nn::Linear layer{nullptr};
  torch::Tensor target;
  std::unique_ptr<torch::optim::SGD> sgd;
  std::unique_ptr<BatchEvaluator> evaluator;
  std::unique_ptr<LeapVerify> leaps;
  std::vector<json> events;
};

TEST(ActivationCosine, PerRateStaysLevelWhereADecayingRateAloneCalmsTheRawOne) {
  Options options = observing(SignalKind::kActivationCosine);
  options.detector.per_rate = true;
  Slide slide(options);
  double rate = 1e-5;
  for (int step = 0; step < 60; ++step) slide.step(rate *= 0.95);
  std::vector<double> raw, normalised;
  for (const json& event : slide.events) {
    if (!event.contains("signal")) continue;
    raw.push_back(1 - event.at("cosine").get<double>());
    normalised.push_back(1 - event.at("signal").get<double>());
  }
  ASSERT_EQ(raw.size(), 11u);
  ASSERT_GT(raw.front(), 1e-6);
  EXPECT_LT(raw.back(), 0.01 * raw.front()) << "the raw signal rises towards 1";
  for (const double distance : normalised) {
    EXPECT_NEAR(distance, normalised.front(), 0.1 * normalised.front());
  }
}

}  // namespace
}  // namespace leapverify

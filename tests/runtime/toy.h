// A small regression problem with dropout and batch norm: everything that a leap could disturb.
#pragma once

#include <gtest/gtest.h>
#include <leapverify/runtime/batch_evaluator.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/optimizer_state.h>
#include <leapverify/runtime/random_state.h>
#include <torch/torch.h>

#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/toy_device.h"

namespace leapverify {

inline constexpr std::int64_t kToyInputs = 8;
inline constexpr std::int64_t kToyBatch = 16;

struct ToyNet : torch::nn::Module {
  ToyNet() {
    first = register_module("first", torch::nn::Linear(kToyInputs, 32));
    norm = register_module("norm", torch::nn::BatchNorm1d(32));
    dropout = register_module("dropout", torch::nn::Dropout(0.25));
    second = register_module("second", torch::nn::Linear(32, 1));
    odd = register_buffer("odd", torch::zeros({3}, torch::kBool));
  }
  torch::Tensor features(const torch::Tensor& x) {
    if (is_training()) odd.logical_not_();
    return dropout(torch::relu(norm(first(x))));
  }
  torch::Tensor forward(const torch::Tensor& x) { return second(features(x)).squeeze(1); }

  torch::nn::Linear first{nullptr}, second{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  torch::nn::Dropout dropout{nullptr};
  /// Whether the number of training forward passes is odd.
  torch::Tensor odd;
};

/// The target of the regression.
inline torch::Tensor toy_target(const torch::Tensor& x) { return torch::sin(x).sum(1); }

/// [rows × inputs], a function of the seed alone that leaves torch's generators untouched.
inline torch::Tensor toy_inputs(std::uint64_t seed, std::int64_t rows) {
  const torch::Tensor flat = torch::arange(rows * kToyInputs, torch::kDouble);
  const torch::Tensor mixed =
      torch::sin(flat * 12.9898 + static_cast<double>(seed) * 78.233) * 43758.5453;
  return ((mixed - mixed.floor()) * 4 - 2).to(toy_device(), torch::kFloat).view({rows, kToyInputs});
}

inline std::unique_ptr<torch::optim::Optimizer> toy_optimizer(const std::string& name,
                                                              torch::nn::Module& model) {
  namespace optim = torch::optim;
  if (name == "sgd") {
    return std::make_unique<optim::SGD>(model.parameters(), optim::SGDOptions(0.01).momentum(0.9));
  }
  if (name == "adam") return std::make_unique<optim::Adam>(model.parameters(), 3e-3);
  if (name == "amsgrad") {
    return std::make_unique<optim::AdamW>(model.parameters(),
                                          optim::AdamWOptions(3e-3).amsgrad(true));
  }
  if (name == "rmsprop") return std::make_unique<optim::RMSprop>(model.parameters(), 1e-3);
  if (name == "centered") {
    return std::make_unique<optim::RMSprop>(
        model.parameters(), optim::RMSpropOptions(1e-3).centered(true).momentum(0.9));
  }
  if (name == "adagrad") {
    return std::make_unique<optim::Adagrad>(model.parameters(),
                                            optim::AdagradOptions(1e-2).lr_decay(0.1));
  }
  if (name == "lbfgs") return std::make_unique<optim::LBFGS>(model.parameters(), 1.0);
  return std::make_unique<optim::AdamW>(model.parameters(), optim::AdamWOptions(3e-3));
}

/// One run: model, base optimizer, evaluator and, when options are given, the wrapper.
struct ToyRun : StepRunner {
  explicit ToyRun(const std::string& optimizer_name = "adamw") {
    torch::manual_seed(7);
    model = std::make_shared<ToyNet>();
    model->to(toy_device());
    base = toy_optimizer(optimizer_name, *model);
    const torch::Tensor gate = toy_inputs(999, 128);
    evaluator = std::make_unique<BatchEvaluator>(
        gate, toy_target(gate), kToyBatch,
        [this](const at::Tensor& x, const at::Tensor& y) { return evaluate(x, y); });
  }

  ToyRun(const ToyRun&) = delete;
  ToyRun& operator=(const ToyRun&) = delete;

  void wrap(const Options& options) {
    leaps = std::make_unique<LeapVerify>(
        *base, model, options, *evaluator, [this](const std::string& e) { trace.push_back(e); },
        this);
  }

  TrainingPosition position() const override { return progress; }
  void seek(const TrainingPosition& position) override {
    if (refuse_seek) throw std::runtime_error("no more data");
    progress = position;
  }
  void backward() override {
    if (before_backward) before_backward();
    if (scheduled) {
      for (auto& group : base->param_groups()) group.options().set_lr(rate_at(progress.schedule));
    }
    const torch::Tensor x = toy_inputs(static_cast<std::uint64_t>(progress.data), kToyBatch);
    base->zero_grad();
    torch::mse_loss(model->forward(x), toy_target(x)).backward();
    if (clip > 0) torch::nn::utils::clip_grad_norm_(model->parameters(), clip);
    ++progress.data;
    ++progress.schedule;
  }

  /// The batch that comes next, as the parts of its step.
  TrainingBatch next_batch() {
    const torch::Tensor x = toy_inputs(static_cast<std::uint64_t>(progress.data), kToyBatch);
    ++progress.data;
    ++progress.schedule;
    return {kToyBatch,
            [this, x] {
              ++batch_forwards;
              if (!model->is_training()) throw std::runtime_error("not as training does");
              torch::Tensor losses = (model->forward(x) - toy_target(x)).square();
              return change_batch_losses ? change_batch_losses(losses) : losses;
            },
            [this, x] {
              if (before_own_forward) before_own_forward();
              base->zero_grad();
              torch::Tensor loss = torch::mse_loss(model->forward(x), toy_target(x));
              loss.backward();
              return loss.detach();
            },
            seen};
  }

  /// As train(), each step given as its batch.
  void train_on_batches(int steps) {
    for (int i = 0; i < steps; ++i) {
      const TrainingBatch batch = next_batch();
      if (leaps) {
        leaps->step(batch);
      } else {
        batch.backward();
        base->step();
      }
    }
  }

  Evaluation evaluate(const at::Tensor& x, const at::Tensor& y) {
    const bool canary = x.size(0) == 2 && !tamper_with_canary;
    if (!canary) {
      ++evaluations;
      if (before_evaluation) before_evaluation();
    }
    const at::Tensor features = model->features(x);
    at::Tensor losses = (model->second(features).squeeze(1) - y).square();
    if (change_losses && !canary) losses = change_losses(losses);
    return {losses, integer_activations ? features.to(at::kLong) : features};
  }

  void train(int steps) {
    for (int i = 0; i < steps; ++i) {
      backward();
      if (leaps) {
        leaps->step();
      } else {
        base->step();
      }
    }
  }

  /// Takes over what a checkpoint of `other` would hold, `random` captured when it stopped.
  void go_on_from(const ToyRun& other, const RandomState& random) {
    {
      const torch::NoGradGuard no_grad;
      const auto copy = [](std::vector<at::Tensor> to, const std::vector<at::Tensor>& from) {
        for (std::size_t i = 0; i < to.size(); ++i) to[i].copy_(from[i]);
      };
      copy(model->parameters(), other.model->parameters());
      copy(model->buffers(), other.model->buffers());
    }
    import_state(*base, export_state(*other.base), "test");
    leaps->restore(other.leaps->state());
    progress = other.progress;
    restore_random_state(random, toy_device());
  }

  /// Weights, buffers, gradients, optimizer tensors and the random generator.
  std::vector<std::pair<std::string, at::Tensor>> everything() const {
    std::vector<std::pair<std::string, at::Tensor>> all;
    for (const auto& item : model->named_parameters()) {
      all.emplace_back(item.key(), item.value().detach().clone());
      all.emplace_back(item.key() + ".grad", item.value().grad().defined()
                                                 ? item.value().grad().clone()
                                                 : torch::Tensor());
    }
    for (const auto& item : model->named_buffers()) {
      all.emplace_back(item.key(), item.value().clone());
    }
    for (const auto& [name, tensor] : export_state(*base).tensors) {
      all.emplace_back("optimizer." + name, tensor.clone());
    }
    const RandomState random = capture_random_state(toy_device());
    all.emplace_back("random", random.cpu);
    all.emplace_back("random on the GPU", random.cuda);
    return all;
  }

  std::shared_ptr<ToyNet> model;
  std::unique_ptr<torch::optim::Optimizer> base;
  std::unique_ptr<BatchEvaluator> evaluator;
  std::unique_ptr<LeapVerify> leaps;
  std::vector<std::string> trace;
  std::function<void()> before_evaluation;
  std::function<at::Tensor(const at::Tensor&)> change_losses;
  /// Whether these two meet the canary's evaluations as well.
  bool tamper_with_canary = false;
  bool integer_activations = false;
  double clip = 0;
  TrainingPosition progress;
  bool scheduled = false;
  std::function<double(std::int64_t)> rate_at = [](std::int64_t step) {
    return 3e-3 / (1 + 0.01 * static_cast<double>(step));
  };
  bool refuse_seek = false;
  std::function<void()> before_backward;
  std::function<void()> before_own_forward;
  int batch_forwards = 0;
  std::function<torch::Tensor(const torch::Tensor&)> change_batch_losses;
  bool seen = false;
  int evaluations = 0;
};

/// Leaps from the weights of now as published; every observation from step 10 on is a try.
inline Options eager_options() {
  Options options = Options::paper();
  options.observe_every = 5;
  options.probes = 8;
  options.controller.horizons = {2, 5};
  options.controller.least_regime = Regime::kChaotic;
  options.controller.first_leap = 0;
  options.controller.max_overhead = std::numeric_limits<double>::infinity();
  options.controller.max_backoff = 0;
  options.gate = GateSource::kFresh;
  options.moments = MomentPolicy::kKeep;
  options.moment_scale = 1;
  options.verification.sequences = 16;
  return options;
}

/// Copies of all weights, frozen ones too.
inline std::vector<at::Tensor> weights_of(const ToyRun& run) {
  std::vector<at::Tensor> weights;
  for (const at::Tensor& parameter : run.model->parameters()) {
    weights.push_back(parameter.detach().clone());
  }
  return weights;
}

/// Copies of a list of weights in the wrapper's state.
inline std::vector<at::Tensor> listed(const ToyRun& run, const std::string& prefix) {
  std::vector<at::Tensor> found;
  for (const auto& [name, tensor] : run.leaps->state().tensors) {
    if (name.rfind(prefix, 0) == 0) found.push_back(tensor.clone());
  }
  return found;
}

inline std::vector<nlohmann::json> events_of(const ToyRun& run, const std::string& kind) {
  std::vector<nlohmann::json> events;
  for (const std::string& line : run.trace) {
    nlohmann::json event = nlohmann::json::parse(line);
    if (event.at("event") == kind) events.push_back(std::move(event));
  }
  return events;
}

/// Rejecting was real work: candidates were written, and every one of them was put back.
inline void expect_real_rejections(const ToyRun& run) {
  const std::vector<nlohmann::json> candidates = events_of(run, "candidate");
  const std::vector<nlohmann::json> leaps = events_of(run, "leap");
  ASSERT_GE(candidates.size(), 20u);
  ASSERT_EQ(candidates.size(), leaps.size()) << "each try ends at its first rejection";
  for (std::size_t i = 0; i < leaps.size(); ++i) {
    EXPECT_EQ(leaps[i].at("outcome"), "rejected");
    EXPECT_NE(candidates[i].at("digest"), leaps[i].at("digest_before"));
    EXPECT_EQ(leaps[i].at("digest_after"), leaps[i].at("digest_before"));
  }
}

/// Makes every candidate look worse than any reference: the first evaluation of a try is the
/// reference's, those after it until the next probe are the candidates'.
inline void reject_everything(ToyRun& run) {
  run.change_losses = [count = 0](const at::Tensor& losses) mutable {
    return losses + static_cast<double>(count++);
  };
}

/// A run in which every candidate is accepted.
inline Options accepting_options() {
  Options options = eager_options();
  options.verification.rule = policy::Rule::kProximity;
  options.verification.proximity_tolerance = 1e9;
  return options;
}

}  // namespace leapverify

// What the wrapper costs when no leap is tried: steps of the demo model with the bare optimizer and
// with LeapVerify enabled, in turns, as ratios within one run. idle: nothing is ever due. observing:
// the defaults, with the average at every step and a snapshot of it at every tenth; its mean holds
// the snapshots, which the median leaves out. striding: the same with a rate.stride that never binds.
// free: the first steps of a run of rate.free as long as the demo, with iterate and average, and at every
// tenth the distance of a sample from its running average and a waypoint. Looks are no part of it. On a GPU it is the model of the preset demo-gpu.
// Usage: bench_step_overhead [ROUNDS] [cpu|cuda]. Prints one JSON object a step and one summary
// each.
#include <leapverify/integrations/models/pretrained_model.h>
#include <leapverify/runtime/batch_evaluator.h>
#include <leapverify/runtime/leap_verify.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

namespace {

struct Setting {
  torch::Device device;
  std::int64_t batch;
  leapverify::models::ModelOptions model;
};

Setting setting_on(const std::string& device) {
  if (device == "cpu") return {torch::kCPU, 16, {}};
  leapverify::models::ModelOptions model;
  model.gpt.context = 256;
  model.gpt.width = 384;
  model.gpt.heads = 6;
  model.gpt.layers = 6;
  return {{torch::kCUDA, 0}, 64, model};
}

torch::Tensor random_tokens(const Setting& setting, std::int64_t rows) {
  return torch::randint(256, {rows, setting.model.gpt.context},
                        torch::TensorOptions(torch::kInt64).device(setting.device));
}

/// The clock after everything that was given to the device.
std::chrono::steady_clock::time_point now(const Setting& setting) {
  if (setting.device.is_cuda()) torch::cuda::synchronize();
  return std::chrono::steady_clock::now();
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Seconds of a whole training step, and of the call to the optimizer within it.
struct Times {
  double step = 0;
  double optimizer = 0;
};

template <class Update>
Times timed_step(const Setting& setting, leapverify::models::LanguageModel& model,
                 torch::optim::Optimizer& base, Update update) {
  const auto start = now(setting);
  const torch::Tensor tokens = random_tokens(setting, setting.batch);
  base.zero_grad();
  const torch::Tensor logits = model.forward(tokens);
  torch::nn::functional::cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward();
  torch::nn::utils::clip_grad_norm_(model.parameters(), 1.0);
  const auto before = now(setting);
  update();
  const auto end = now(setting);
  return {std::chrono::duration<double>(end - start).count(),
          std::chrono::duration<double>(end - before).count()};
}

/// One way of wrapping: its own model, so that no two share a state.
struct Subject {
  Subject(const char* title, const Setting& setting, const leapverify::Options& options)
      : name(title),
        model(leapverify::models::make_model(setting.model)),
        adamw(on(setting.device, *model), torch::optim::AdamWOptions(1e-3)),
        gate(random_tokens(setting, 256)),
        evaluator(gate, gate, setting.batch, [](const auto&, const auto&) {
          return leapverify::Evaluation{};  // never due, never called
        }) {
    leaps = std::make_unique<leapverify::LeapVerify>(adamw, *model, options, evaluator);
  }

  /// The parameters of a model that has been moved there.
  static std::vector<torch::Tensor> on(torch::Device device, torch::nn::Module& model) {
    model.to(device);
    return model.parameters();
  }

  const char* name;
  std::shared_ptr<leapverify::models::LanguageModel> model;
  torch::optim::AdamW adamw;
  torch::Tensor gate;
  leapverify::BatchEvaluator evaluator;
  std::unique_ptr<leapverify::LeapVerify> leaps;
  /// Of a step to the bare one beside it, and of what the call takes longer to that step.
  std::vector<double> step_ratios, extra_shares;
};

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 100;
  const std::string device = argc > 2 ? argv[2] : "cpu";
  if (argc > 3 || rounds < 1 || (device != "cpu" && device != "cuda")) {
    std::fprintf(stderr, "usage: bench_step_overhead [ROUNDS] [cpu|cuda], at least 1 round\n");
    return 1;
  }
  const Setting setting = setting_on(device);
  torch::manual_seed(0);
  constexpr std::int64_t kNever = std::int64_t{1} << 40;
  constexpr int kWarmUp = 20;
  leapverify::Options off;
  off.enabled = false;
  leapverify::Options idle;
  idle.observe_every = kNever;
  idle.reference = leapverify::Reference::kCurrent;
  leapverify::Options observing;
  observing.controller.first_leap = kNever;
  Subject bare("bare", setting, off);
  leapverify::Options striding = observing;
  striding.rate.stride = 1e3;
  leapverify::Options free = leapverify::Options::free_rate();
  free.planned_steps = std::max(600, kWarmUp + rounds);
  Subject subjects[] = {{"idle", setting, idle},
                        {"observing", setting, observing},
                        {"striding", setting, striding},
                        {"free", setting, free}};

  for (int i = -kWarmUp; i < rounds; ++i) {
    const Times base = timed_step(setting, *bare.model, bare.adamw, [&] { bare.adamw.step(); });
    for (Subject& subject : subjects) {
      const Times leaps =
          timed_step(setting, *subject.model, subject.adamw, [&] { subject.leaps->step(); });
      if (i < 0) continue;  // warm-up
      subject.step_ratios.push_back(leaps.step / base.step);
      subject.extra_shares.push_back((leaps.optimizer - base.optimizer) / base.step);
      std::printf("{\"round\": %d, \"wrapped\": \"%s\", \"bare_ms\": %.3f, \"wrapped_ms\": %.3f}\n",
                  i, subject.name, 1e3 * base.step, 1e3 * leaps.step);
    }
  }
  for (const Subject& subject : subjects) {
    std::printf(
        "{\"wrapped\": \"%s\", \"rounds\": %d, \"median_step_ratio\": %.5f, "
        "\"step_ratio_quartiles\": "
        "[%.5f, %.5f], \"median_extra_share_of_step\": %.6f, \"mean_extra_share_of_step\": %.6f}\n",
        subject.name, rounds, quantile(subject.step_ratios, 0.5),
        quantile(subject.step_ratios, 0.25), quantile(subject.step_ratios, 0.75),
        quantile(subject.extra_shares, 0.5), mean(subject.extra_shares));
  }
  return 0;
}

// What the wrapper costs when nothing is due: steps of the demo model with the bare optimizer and
// with LeapVerify enabled, taken in turns, as a ratio within one run.
// Usage: bench_step_overhead [pairs]. Prints one JSON object a pair and one with the medians.
#include <leapverify/integrations/models/language_model.h>
#include <leapverify/runtime/batch_evaluator.h>
#include <leapverify/runtime/leap_verify.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr std::int64_t kBatch = 16;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Seconds of a whole training step, and of the call to the optimizer within it.
struct Times {
  double step = 0;
  double optimizer = 0;
};

template <class Update>
Times timed_step(leapverify::models::LanguageModel& model, torch::optim::Optimizer& base,
                 Update update) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const torch::Tensor tokens = torch::randint(256, {kBatch, model.context()}, torch::kInt64);
  base.zero_grad();
  const torch::Tensor logits = model.forward(tokens);
  torch::nn::functional::cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward();
  torch::nn::utils::clip_grad_norm_(model.parameters(), 1.0);
  const auto before = Clock::now();
  update();
  const auto end = Clock::now();
  return {std::chrono::duration<double>(end - start).count(),
          std::chrono::duration<double>(end - before).count()};
}

}  // namespace

int main(int argc, char** argv) {
  const int pairs = argc > 1 ? std::atoi(argv[1]) : 100;
  torch::manual_seed(0);
  const auto model = leapverify::models::make_model({});
  torch::optim::AdamW adamw(model->parameters(), torch::optim::AdamWOptions(1e-3));
  const torch::Tensor gate = torch::randint(256, {256, model->context()}, torch::kInt64);
  leapverify::BatchEvaluator evaluator(gate, gate, kBatch, [](const auto&, const auto&) {
    return leapverify::Evaluation{};  // never due, never called
  });
  leapverify::Options options;
  options.observe_every = std::int64_t{1} << 40;
  leapverify::LeapVerify wrapped(adamw, *model, options, evaluator);

  std::vector<double> step_ratios, optimizer_ratios;
  for (int i = -5; i < pairs; ++i) {
    const Times bare = timed_step(*model, adamw, [&] { adamw.step(); });
    const Times leaps = timed_step(*model, adamw, [&] { wrapped.step(); });
    if (i < 0) continue;  // warm-up
    step_ratios.push_back(leaps.step / bare.step);
    optimizer_ratios.push_back((leaps.optimizer - bare.optimizer) / bare.step);
    std::printf("{\"pair\": %d, \"bare_ms\": %.3f, \"wrapped_ms\": %.3f}\n", i, 1e3 * bare.step,
                1e3 * leaps.step);
  }
  std::printf(
      "{\"pairs\": %d, \"median_step_ratio\": %.5f, \"median_extra_share_of_step\": %.6f}\n", pairs,
      median(step_ratios), median(optimizer_ratios));
  return 0;
}

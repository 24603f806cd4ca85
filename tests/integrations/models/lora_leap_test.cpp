// LeapVerify around an optimizer of all of a model's parameters acts on its adapters only.
#include <gmock/gmock.h>
#include <leapverify/runtime/batch_evaluator.h>
#include <leapverify/runtime/leap_verify.h>

#include <limits>

#include "integrations/models/small_lora.h"
#include "runtime/tensor_matchers.h"

namespace leapverify::models {
namespace {

/// As published, and every candidate is accepted.
Options accepting_options() {
  Options options = Options::paper();
  options.observe_every = 2;
  options.probes = 4;
  options.controller.horizons = {3};
  options.controller.least_regime = Regime::kChaotic;
  options.controller.first_leap = 0;
  options.controller.max_overhead = std::numeric_limits<double>::infinity();
  options.verification.sequences = 4;
  options.verification.rule = policy::Rule::kProximity;
  options.verification.proximity_tolerance = 1e9;
  return options;
}

std::int64_t bytes_of(const std::vector<torch::Tensor>& tensors) {
  std::int64_t bytes = 0;
  for (const torch::Tensor& tensor : tensors) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

TEST(LoraLeap, MovesAdaptersAndKeepsNothingElse) {
  const auto model = testing::small_model("gpt2");
  add_lora(*model, testing::small_lora_options({"c_attn"}));
  std::vector<std::pair<std::string, torch::Tensor>> frozen, before;
  std::int64_t adapter_bytes = 0;
  for (const auto& parameter : model->named_parameters()) {
    if (parameter.value().requires_grad()) {
      adapter_bytes += static_cast<std::int64_t>(parameter.value().nbytes());
      continue;
    }
    frozen.emplace_back(parameter.key(), parameter.value());
    before.emplace_back(parameter.key(), parameter.value().clone());
  }
  torch::manual_seed(31);
  const torch::Tensor gate = torch::randint(97, {8, 16}, torch::kInt64);
  BatchEvaluator evaluator(gate, gate.flip(1), 4, [&](const at::Tensor& x, const at::Tensor& y) {
    const torch::Tensor hidden = model->hidden(x);
    return Evaluation{sequence_losses(*model, hidden, y), hidden.select(1, -1)};
  });
  torch::optim::AdamW adamw(model->parameters(), torch::optim::AdamWOptions(1e-2));
  LeapVerify leaps(adamw, model, accepting_options(), evaluator);
  const torch::Tensor tokens = testing::small_tokens();
  for (int step = 0; step < 20; ++step) {
    leaps.zero_grad();
    sequence_losses(*model, model->hidden(tokens), tokens.flip(1)).mean().backward();
    leaps.step();
  }
  EXPECT_GT(leaps.status().ledger.accepted, 2) << leaps.status().off_reason;
  EXPECT_TRUE(bitwise_equal(frozen, before));
  EXPECT_GE(leaps.memory_bytes(), 3 * adapter_bytes);
  EXPECT_LT(leaps.memory_bytes(), bytes_of(model->parameters()) / 2);
}

}  // namespace
}  // namespace leapverify::models

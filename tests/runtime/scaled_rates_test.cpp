// Learning rates are scaled for one step and bitwise back afterwards.
#include <gtest/gtest.h>
#include <leapverify/runtime/scaled_rates.h>
#include <leapverify/runtime/torch_optimizer.h>
#include <torch/torch.h>

namespace leapverify {
namespace {

torch::optim::AdamW two_groups() {
  const auto parameter = [] { return torch::zeros({1}, torch::requires_grad()); };
  return torch::optim::AdamW({torch::optim::OptimizerParamGroup({parameter()}),
                              torch::optim::OptimizerParamGroup({parameter()})},
                             torch::optim::AdamWOptions(0.1));
}

TEST(ScaledRates, ScalesEveryGroupForItsLifetimeOnly) {
  torch::optim::AdamW optimizer = two_groups();
  TorchOptimizer base(optimizer);
  auto& groups = optimizer.param_groups();
  groups[1].options().set_lr(0.3);
  try {
    const ScaledRates rates(base, 0.7);
    EXPECT_EQ(groups[0].options().get_lr(), 0.1 * 0.7);
    EXPECT_EQ(groups[1].options().get_lr(), 0.3 * 0.7);
    throw 1;
  } catch (int) {
  }
  EXPECT_EQ(groups[0].options().get_lr(), 0.1);
  EXPECT_EQ(groups[1].options().get_lr(), 0.3);
}

TEST(MeanRate, IsThatOverTheGroupsAsTheyAreScaled) {
  torch::optim::AdamW optimizer = two_groups();
  optimizer.param_groups()[1].options().set_lr(0.3);
  TorchOptimizer base(optimizer);
  EXPECT_DOUBLE_EQ(mean_rate(base), 0.2);
  const ScaledRates rates(base, 4);
  EXPECT_DOUBLE_EQ(mean_rate(base), 0.8);
}

}  // namespace
}  // namespace leapverify

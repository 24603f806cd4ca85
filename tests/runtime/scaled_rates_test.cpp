// Learning rates are scaled for one step and bitwise back afterwards.
#include <gtest/gtest.h>
#include <leapverify/runtime/fused_adamw.h>
#include <leapverify/runtime/muon.h>
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

std::vector<double> values(const BaseOptimizer& optimizer) {
  std::vector<double> values;
  for (const MomentumCoefficient& momentum : optimizer.momenta()) values.push_back(momentum.value);
  return values;
}

TEST(CappedMomenta, CapsWhatEachOptimizerKeepsForItsLifetimeOnly) {
  const std::vector<at::Tensor> parameters = {torch::zeros({2, 2}, torch::requires_grad())};
  const auto expect_capped = [](torch::optim::Optimizer& optimizer, double own, double capped) {
    TorchOptimizer base(optimizer);
    EXPECT_EQ(values(base), std::vector<double>{own});
    {
      const CappedMomenta momenta(base, {0.5, 0.75});
      EXPECT_EQ(values(base), std::vector<double>{capped});
    }
    EXPECT_EQ(values(base), std::vector<double>{own});
  };
  namespace optim = torch::optim;
  optim::AdamW adamw(parameters, optim::AdamWOptions(0.1).betas({0.9, 0.95}));
  expect_capped(adamw, 0.9, 0.5);
  EXPECT_EQ(
      std::get<1>(static_cast<optim::AdamWOptions&>(adamw.param_groups()[0].options()).betas()),
      0.95);
  optim::Adam adam(parameters, optim::AdamOptions(0.1).betas({0.3, 0.95}));
  expect_capped(adam, 0.3, 0.3);
  optim::SGD sgd(parameters, optim::SGDOptions(0.1).momentum(0.9));
  expect_capped(sgd, 0.9, 0.75);
  optim::SGD plain(parameters, optim::SGDOptions(0.1));
  expect_capped(plain, 0, 0);
  optim::RMSprop rmsprop(parameters, optim::RMSpropOptions(0.1).momentum(0.8));
  expect_capped(rmsprop, 0.8, 0.75);
  optim::Adagrad adagrad(parameters, optim::AdagradOptions(0.1));
  expect_capped(adagrad, 0, 0);
  FusedAdamW fused(parameters, optim::AdamWOptions(0.1));
  expect_capped(fused, 0.9, 0.5);
}

TEST(CappedMomenta, OfMuonAreThoseOfTheMatricesAndOfTheRest) {
  const auto group = [](bool orthogonalised) {
    auto options = std::make_unique<MuonOptions>();
    options->orthogonalised = orthogonalised;
    return torch::optim::OptimizerParamGroup({torch::zeros({2, 2}, torch::requires_grad())},
                                             std::move(options));
  };
  Muon muon({group(true), group(false)});
  TorchOptimizer base(muon);
  EXPECT_EQ(values(base), (std::vector<double>{0.95, 0.9}));
  const CappedMomenta momenta(base, {0.5, 0.75});
  EXPECT_EQ(values(base), (std::vector<double>{0.75, 0.5}));
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

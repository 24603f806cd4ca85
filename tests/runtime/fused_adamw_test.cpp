// One fused step is AdamW's, up to rounding, and its state is AdamW's.
#include <gmock/gmock.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/fused_adamw.h>
#include <leapverify/runtime/momentum.h>
#include <leapverify/runtime/optimizer_state.h>
#include <leapverify/runtime/torch_optimizer.h>

#include "runtime/tensor_matchers.h"

namespace leapverify {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
namespace optim = torch::optim;

class FusedAdamWTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (GetParam() == std::string("cuda") && !torch::cuda::is_available()) {
      GTEST_SKIP() << "no CUDA device";
    }
  }

  static std::vector<torch::Tensor> weights() {
    torch::manual_seed(5);
    std::vector<torch::Tensor> made;
    for (const auto& shape :
         std::vector<std::vector<std::int64_t>>{{33, 7}, {1}, {0, 4}, {257}, {6, 5}}) {
      made.push_back(torch::randn(shape).to(torch::Device(GetParam())).requires_grad_());
    }
    return made;
  }

  /// Two groups with options of their own. The last weight has a gradient in every third step only,
  /// and one that lies transposed in memory.
  static std::vector<optim::OptimizerParamGroup> groups(const std::vector<torch::Tensor>& weights,
                                                        bool amsgrad) {
    const auto options = [&](double rate, double decay) {
      return std::make_unique<optim::AdamWOptions>(
          optim::AdamWOptions(rate).weight_decay(decay).betas({0.8, 0.95}).amsgrad(amsgrad));
    };
    std::vector<optim::OptimizerParamGroup> made;
    made.emplace_back(std::vector<torch::Tensor>{weights[0], weights[1], weights[4]},
                      options(3e-2, 0.1));
    made.emplace_back(std::vector<torch::Tensor>{weights[2], weights[3]}, options(1e-2, 0));
    return made;
  }

  static void train(optim::Optimizer& optimizer, const std::vector<torch::Tensor>& weights,
                    int first, int steps) {
    for (int step = first; step < first + steps; ++step) {
      torch::manual_seed(static_cast<std::uint64_t>(100 + step));
      for (std::size_t i = 0; i < weights.size(); ++i) {
        torch::Tensor weight = weights[i];
        const torch::Tensor noise = torch::randn(weight.sizes()).to(weight.device());
        weight.mutable_grad() = noise + weight.detach();
      }
      torch::Tensor last = weights.back();
      last.mutable_grad() = step % 3 == 2 ? last.grad().t().contiguous().t() : torch::Tensor();
      optimizer.step();
    }
  }
};

TEST_P(FusedAdamWTest, GoesWhereAdamWGoes) {
  for (const bool amsgrad : {false, true}) {
    const auto expected = weights(), found = weights();
    optim::AdamW plain(groups(expected, amsgrad));
    FusedAdamW fused(groups(found, amsgrad));
    train(plain, expected, 0, 50);
    train(fused, found, 0, 50);
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_TRUE(torch::allclose(found[i], expected[i], 1e-5, 1e-6))
          << "weight " << i << ", amsgrad " << amsgrad << ": off by up to "
          << (found[i] - expected[i]).abs().max().item<double>();
    }
    EXPECT_EQ(export_state(fused).json, export_state(plain).json) << "counters and rates";
  }
}

TEST_P(FusedAdamWTest, GoesOnFromAdamWsStateAndRepeatsItself) {
  const auto first = weights(), second = weights();
  optim::AdamW before(groups(first, false));
  train(before, first, 0, 5);
  {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < first.size(); ++i) second[i].copy_(first[i]);
  }
  FusedAdamW one(groups(first, false)), other(groups(second, false));
  import_state(one, export_state(before), "test");
  train(one, first, 5, 4);
  import_state(other, export_state(before), "test");
  train(other, second, 5, 2);
  FusedAdamW resumed(groups(second, false));
  import_state(resumed, export_state(other), "test");
  train(resumed, second, 7, 2);
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(second[i], first[i])) << "weight " << i;
  }
}

TEST_P(FusedAdamWTest, PassesByWhatHasNoGradient) {
  const auto made = weights();
  FusedAdamW optimizer(groups(made, false));
  const torch::Tensor before = made[4].detach().clone();
  train(optimizer, made, 0, 2);
  EXPECT_TRUE(bitwise_equal(made[4], before));
  EXPECT_EQ(optimizer.state().count(made[4].unsafeGetTensorImpl()), 0u);
  EXPECT_EQ(optimizer.state().count(made[0].unsafeGetTensorImpl()), 1u);
}

TEST_P(FusedAdamWTest, ReturnsTheLossOfItsClosure) {
  const auto made = weights();
  FusedAdamW optimizer(groups(made, false));
  const torch::NoGradGuard no_grad;
  const torch::Tensor loss = optimizer.step([&] {
    torch::Tensor value = made[0].square().sum();
    value.backward();
    return value;
  });
  EXPECT_GT(loss.item<double>(), 0);
  EXPECT_EQ(optimizer.state().size(), 1u);
}

TEST_P(FusedAdamWTest, HasTheMomentumOfAdamW) {
  const auto made = weights();
  optim::AdamW plain(groups(made, false));
  train(plain, made, 0, 3);
  FusedAdamW fused(groups(made, false));
  import_state(fused, export_state(plain), "test");
  const Momentum expected = momentum_ahead(TorchOptimizer(plain), 5, false),
                 found = momentum_ahead(TorchOptimizer(fused), 5, false);
  for (std::size_t i = 0; i < made.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(found.exp_avg.tensors()[i], expected.exp_avg.tensors()[i])) << i;
    EXPECT_EQ(found.rows[i].step, expected.rows[i].step);
  }
}

TEST_P(FusedAdamWTest, RefusesSparseGradients) {
  torch::Tensor weight = torch::ones({4, 2}).to(torch::Device(GetParam())).requires_grad_();
  FusedAdamW optimizer(std::vector<torch::Tensor>{weight});
  weight.mutable_grad() = torch::ones_like(weight).to_sparse();
  EXPECT_THAT([&] { optimizer.step(); },
              ThrowsMessage<ContractError>(HasSubstr("a sparse gradient of shape [4, 2]")));
}

INSTANTIATE_TEST_SUITE_P(All, FusedAdamWTest, ::testing::Values("cpu", "cuda"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace leapverify

// A scope of mixed precision: what it switches, what it puts back, and that it answers for the
// weights of now.
#include <gtest/gtest.h>
#include <leapverify/integrations/models/autocast.h>
#include <torch/torch.h>

#include "runtime/tensor_matchers.h"

namespace leapverify::models {
namespace {

const AutocastState kBf16 = {/*enabled=*/true, at::kBFloat16, /*cached=*/true};

TEST(AutocastScope, LastsAsLongAsItself) {
  const torch::Tensor x = torch::ones({2, 2});
  const AutocastState before = autocast_state(at::kCPU);
  {
    const AutocastScope scope(at::kCPU, kBf16);
    EXPECT_EQ(torch::mm(x, x).scalar_type(), at::kBFloat16);
    {
      const AutocastScope inner(at::kCPU, AutocastState());
      EXPECT_EQ(torch::mm(x, x).scalar_type(), at::kFloat);
    }
    EXPECT_EQ(torch::mm(x, x).scalar_type(), at::kBFloat16);
  }
  EXPECT_EQ(torch::mm(x, x).scalar_type(), at::kFloat);
  EXPECT_EQ(autocast_state(at::kCPU).enabled, before.enabled);
  EXPECT_EQ(autocast_state(at::kCPU).dtype, before.dtype);
  EXPECT_EQ(autocast_state(at::kCPU).cached, before.cached);
}

TEST(AutocastScope, EndsWhenAnExceptionPasses) {
  try {
    const AutocastScope scope(at::kCPU, kBf16);
    throw std::runtime_error("");
  } catch (const std::runtime_error&) {
  }
  EXPECT_FALSE(autocast_state(at::kCPU).enabled);
}

TEST(AutocastScope, FindsWeightsThatChangedSinceTheLast) {
  const torch::Tensor x = torch::ones({1, 2});
  const torch::Tensor weight = torch::ones({2, 2}).requires_grad_();
  const auto product = [&] {
    const AutocastScope scope(at::kCPU, kBf16);
    return torch::mm(x, weight);
  };
  const torch::Tensor before = product();
  {
    const torch::NoGradGuard no_grad;
    weight.mul_(2);
  }
  EXPECT_TRUE(bitwise_equal(product(), 2 * before));
}

TEST(AutocastScope, GradientsAreInThePrecisionOfTheWeights) {
  const torch::Tensor weight = torch::ones({2, 2}).requires_grad_();
  torch::Tensor loss;
  {
    const torch::NoGradGuard no_grad;
    const AutocastScope scope(at::kCPU, kBf16);
    torch::mm(torch::ones({1, 2}), weight);
  }
  {
    const AutocastScope scope(at::kCPU, kBf16);
    loss = torch::mm(torch::ones({1, 2}), weight).sum();
  }
  loss.backward();
  ASSERT_TRUE(weight.grad().defined()) << "a copy without gradients served";
  EXPECT_EQ(weight.grad().scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace leapverify::models

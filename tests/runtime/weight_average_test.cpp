// The running average of the weights, moves of whole lists, and distances.
#include <gtest/gtest.h>
#include <leapverify/runtime/weight_average.h>
#include <torch/torch.h>

#include <cmath>

#include "runtime/tensor_matchers.h"

namespace leapverify {
namespace {

TEST(WeightAverage, FollowsTheRecursionInFloat32) {
  torch::manual_seed(3);
  const std::vector<at::Tensor> weights = {
      torch::randn({7, 5}), torch::randn({9}).to(at::kBFloat16), torch::randn({4}, at::kDouble)};
  const TensorList list(weights);
  WeightAverage average(list, 0.9);
  average.begin();
  std::vector<at::Tensor> expected;
  for (const at::Tensor& weight : weights) expected.push_back(weight.to(at::kDouble).clone());
  for (int step = 0; step < 20; ++step) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i].add_(torch::randn(weights[i].sizes()).to(weights[i].scalar_type()), 0.1);
      // The decay as float32 has it.
      const auto decay = static_cast<double>(0.9F);
      expected[i] = decay * expected[i] + (1 - decay) * weights[i].to(at::kDouble);
    }
    average.update();
  }
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const at::Tensor& tensor = average.tensors().tensors()[i];
    EXPECT_EQ(tensor.scalar_type(), i == 2 ? at::kDouble : at::kFloat);
    EXPECT_TRUE(torch::allclose(tensor.to(at::kDouble), expected[i], 0, i == 2 ? 1e-12 : 1e-6))
        << i << ": " << (tensor - expected[i]).abs().max();
  }
}

TEST(WeightAverage, OfDecayZeroIsTheWeights) {
  const at::Tensor weight = torch::randn({100});
  const TensorList list({weight});
  WeightAverage average(list, 0);
  average.begin();
  weight.mul_(1.7);
  average.update();
  EXPECT_TRUE(bitwise_equal(average.tensors().tensors()[0], weight));
}

TEST(WeightAverage, OfWeightsThatStandStillDoesNotDrift) {
  const at::Tensor weight = torch::full({100}, 0.3);
  const TensorList list({weight});
  for (const double decay : {0.9, 0.999, 0.9999}) {
    WeightAverage average(list, decay);
    average.begin();
    for (int i = 0; i < 100000; ++i) average.update();
    EXPECT_TRUE(torch::allclose(average.tensors().tensors()[0], weight, 1e-5, 0)) << decay;
  }
}

TEST(Shift, MovesByTheDifference) {
  const at::Tensor moved = torch::full({3}, 10.0);
  const TensorList from({torch::full({3}, 1.0)});
  const TensorList to({torch::full({3}, 1.5)});
  shift(TensorList({moved}), from, to);
  EXPECT_TRUE(bitwise_equal(moved, torch::full({3}, 10.5)));
}

TEST(Distance, IsTheNormOverAllTensors) {
  const TensorList a({torch::full({2, 2}, 3.0), torch::full({1}, 8.0, at::kBFloat16)});
  const TensorList b({torch::full({2, 2}, 1.0), torch::full({1}, 5.0, at::kBFloat16)});
  EXPECT_DOUBLE_EQ(distance(a, &b), 5);
  EXPECT_DOUBLE_EQ(distance(a, nullptr), 10);
}

}  // namespace
}  // namespace leapverify

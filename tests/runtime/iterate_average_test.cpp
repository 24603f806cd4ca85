// The iterate, its average and the weights between both.
#include <gtest/gtest.h>
#include <leapverify/runtime/iterate_average.h>
#include <torch/torch.h>

#include <vector>

#include "runtime/tensor_matchers.h"

namespace leapverify {
namespace {

std::vector<at::Tensor> mixed_weights() {
  torch::manual_seed(3);
  return {torch::randn({7, 5}), torch::randn({9}).to(at::kBFloat16),
          torch::randn({4}, at::kDouble)};
}

TEST(IterateAverage, FollowsItsRecursion) {
  const std::vector<at::Tensor> weights = mixed_weights();
  const TensorList list(weights);
  IterateAverage iterates(list);
  iterates.begin();
  std::vector<at::Tensor> iterate, average;
  for (const at::Tensor& weight : weights) {
    iterate.push_back(weight.clone());
    average.push_back(weight.to(at::kDouble).clone());
  }
  double total = 0;
  for (int step = 1; step <= 20; ++step) {
    iterates.before_step();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      EXPECT_TRUE(bitwise_equal(weights[i], iterate[i])) << "steps begin at the iterate";
      weights[i].add_(torch::randn(weights[i].sizes()).to(weights[i].scalar_type()), 0.1);
      iterate[i] = weights[i].clone();
    }
    const double weight = 0.5 * step;
    total += weight;
    iterates.take_in(weight);
    iterates.place(0.8);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      average[i] += weight / total * (iterate[i].to(at::kDouble) - average[i]);
      const at::Tensor between = 0.2 * iterate[i].to(at::kDouble) + 0.8 * average[i];
      const double tolerance = i == 1 ? 1e-2 : 1e-5;
      EXPECT_TRUE(torch::allclose(weights[i].to(at::kDouble), between, tolerance, tolerance)) << i;
      EXPECT_TRUE(
          torch::allclose(iterates.average().tensors()[i].to(at::kDouble), average[i], 1e-5, 1e-5))
          << i;
    }
  }
  EXPECT_EQ(iterates.total(), total);
}

TEST(IterateAverage, TheFirstIterateIsTheAverageAndOneThatWeighsNothingIsNotInIt) {
  const at::Tensor weight = torch::randn({100});
  const TensorList list({weight});
  IterateAverage iterates(list);
  iterates.begin();
  const at::Tensor start = weight.clone();
  weight.mul_(1.7);
  iterates.take_in(0);
  EXPECT_TRUE(bitwise_equal(iterates.average().tensors()[0], start));
  iterates.take_in(1e-20);
  EXPECT_TRUE(bitwise_equal(iterates.average().tensors()[0], weight));
}

TEST(IterateAverage, TheWeightsComeBackFromTheAverageBitwise) {
  const std::vector<at::Tensor> weights = mixed_weights();
  const TensorList list(weights);
  IterateAverage iterates(list);
  iterates.begin();
  for (int step = 0; step < 3; ++step) {
    iterates.before_step();
    for (const at::Tensor& weight : weights) weight.mul_(1.3);
    iterates.take_in(1);
    iterates.place(0.8);
  }
  const std::uint64_t before = list.digest();
  iterates.place_average();
  EXPECT_NE(list.digest(), before);
  EXPECT_TRUE(bitwise_equal(weights[0], iterates.average().tensors()[0]));
  iterates.place();
  EXPECT_EQ(list.digest(), before);
  iterates.place(1);
  EXPECT_TRUE(bitwise_equal(weights[0], iterates.average().tensors()[0])) << "all the way";
}

TEST(IterateAverage, OfWeightsThatStandStillDoesNotDrift) {
  const at::Tensor weight = torch::full({100}, 0.3);
  const at::Tensor start = weight.clone();
  const TensorList list({weight});
  IterateAverage iterates(list);
  iterates.begin();
  for (int step = 1; step <= 100'000; ++step) {
    iterates.before_step();
    iterates.take_in(step);
    iterates.place(0.8);
  }
  EXPECT_TRUE(torch::allclose(weight, start, 1e-5, 0));
}

TEST(IterateAverage, BeginsOnce) {
  const at::Tensor weight = torch::randn({100});
  const TensorList list({weight});
  IterateAverage iterates(list);
  iterates.begin();
  const at::Tensor start = weight.clone();
  weight.mul_(2);
  iterates.begin();
  iterates.before_step();
  EXPECT_TRUE(bitwise_equal(weight, start));
}

}  // namespace
}  // namespace leapverify

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
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const at::Tensor before = weights[i].clone();
      weights[i].add_(torch::randn(weights[i].sizes()).to(weights[i].scalar_type()), 0.1);
      iterate[i].add_(weights[i] - before);
    }
    const double weight = 0.5 * step;
    total += weight;
    iterates.take_in(weight, 0.8);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      EXPECT_TRUE(bitwise_equal(iterates.iterate().tensors()[i], iterate[i]))
          << "it goes as far as the weights";
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
  EXPECT_TRUE(bitwise_equal(iterates.average().tensors()[0], start));
  weight.mul_(1.7);
  iterates.take_in(0, 0.8);
  EXPECT_TRUE(bitwise_equal(iterates.average().tensors()[0], start));
  iterates.take_in(1e-20, 0.8);
  EXPECT_TRUE(bitwise_equal(iterates.average().tensors()[0], iterates.iterate().tensors()[0]));
  EXPECT_FALSE(bitwise_equal(iterates.average().tensors()[0], start));
}

TEST(IterateAverage, WeighsWhatItHasAnewAgainstWhatComes) {
  const at::Tensor weight = torch::zeros({4});
  const TensorList list({weight});
  IterateAverage iterates(list);
  iterates.begin();
  weight.fill_(1);
  iterates.take_in(3, 0);
  iterates.reweigh(1.0 / 3);
  weight.fill_(3);
  iterates.take_in(1, 0);
  EXPECT_TRUE(torch::equal(iterates.average().tensors()[0], torch::full({4}, 2.0f)));
}

TEST(IterateAverage, GoesToAnEarlierAverage) {
  const std::vector<at::Tensor> weights = mixed_weights();
  const TensorList list(weights);
  IterateAverage iterates(list);
  const TensorList earlier = list.allocate_like(TensorList::Precision::kAtLeastFloat32);
  double total = 0;
  iterates.begin();
  for (int step = 1; step <= 10; ++step) {
    for (const at::Tensor& weight : weights) weight.add_(1e-3 * step);
    iterates.take_in(step, 0.8);
    if (step == 5) {
      earlier.copy_from(iterates.average());
      total = iterates.total();
    }
  }
  iterates.go_to(earlier, total);
  EXPECT_EQ(iterates.total(), total);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const at::Tensor& expected = earlier.tensors()[i];
    EXPECT_TRUE(bitwise_equal(iterates.average().tensors()[i], expected));
    EXPECT_TRUE(bitwise_equal(iterates.iterate().tensors()[i], expected.to(weights[i].dtype())));
    EXPECT_TRUE(torch::allclose(weights[i].to(at::kFloat), expected.to(at::kFloat), 1e-2, 1e-2));
  }
  // It steps from there.
  const at::Tensor before = weights[0].clone();
  weights[0].add_(0.5);
  iterates.take_in(1, 0.8);
  EXPECT_TRUE(torch::allclose(iterates.iterate().tensors()[0], before + 0.5));
}

TEST(IterateAverage, TheWeightsComeBackFromTheAverageBitwise) {
  const std::vector<at::Tensor> weights = mixed_weights();
  const TensorList list(weights);
  IterateAverage iterates(list);
  iterates.begin();
  const std::uint64_t start = list.digest();
  const auto place_average = [&] {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i].copy_(iterates.average().tensors()[i]);
    }
  };
  place_average();
  iterates.place();
  EXPECT_EQ(list.digest(), start) << "before the first step too";
  for (int step = 0; step < 3; ++step) {
    for (const at::Tensor& weight : weights) weight.mul_(1.3);
    iterates.take_in(1, 0.8);
  }
  const std::uint64_t before = list.digest();
  place_average();
  EXPECT_NE(list.digest(), before);
  EXPECT_TRUE(bitwise_equal(weights[0], iterates.average().tensors()[0]));
  iterates.place();
  EXPECT_EQ(list.digest(), before);
  iterates.take_in(1, 1);
  EXPECT_TRUE(bitwise_equal(weights[0], iterates.average().tensors()[0])) << "all the way";
}

TEST(IterateAverage, OfWeightsThatStandStillDoesNotDrift) {
  const std::vector<at::Tensor> weights = mixed_weights();
  const TensorList list(weights);
  IterateAverage iterates(list);
  iterates.begin();
  for (int step = 1; step <= 3; ++step) {
    for (const at::Tensor& weight : weights) weight.mul_(1.3);
    iterates.take_in(step, 0.8);
  }
  const std::uint64_t iterate = iterates.iterate().digest();
  for (int step = 4; step <= 1000; ++step) iterates.take_in(step, 0.8);
  EXPECT_EQ(iterates.iterate().digest(), iterate);
  EXPECT_TRUE(torch::allclose(weights[0], iterates.iterate().tensors()[0], 1e-4, 1e-5));
}

TEST(IterateAverage, WhatElseChangesTheWeightsMovesTheIterateToo) {
  const at::Tensor weight = torch::randn({100});
  const TensorList list({weight});
  IterateAverage iterates(list);
  iterates.begin();
  weight.mul_(1.3);
  iterates.take_in(1, 0.8);
  const at::Tensor before = iterates.iterate().tensors()[0].clone();
  const at::Tensor placed = weight.clone();
  weight.clamp_(-0.5, 0.5);
  iterates.take_in(1, 0.8);
  EXPECT_TRUE(
      bitwise_equal(iterates.iterate().tensors()[0], before + (placed.clamp(-0.5, 0.5) - placed)));
}

TEST(IterateAverage, AfterARestoreStepsBeginAtTheWeightsOfThen) {
  const at::Tensor weight = torch::randn({100});
  const TensorList list({weight});
  IterateAverage iterates(list);
  iterates.begin();
  for (int step = 1; step <= 3; ++step) {
    weight.mul_(1.3);
    iterates.take_in(1, 0.8);
  }
  const std::uint64_t placed = list.digest(), iterate = iterates.iterate().digest();
  iterates.restore(iterates.total(), iterates.pull());
  weight.zero_();
  iterates.begin();
  EXPECT_EQ(list.digest(), placed);
  iterates.take_in(1, 0.8);
  EXPECT_EQ(iterates.iterate().digest(), iterate);
  weight.zero_();
  iterates.begin();
  EXPECT_FALSE(weight.any().item<bool>()) << "once";
}

TEST(IterateAverage, BeginsOnce) {
  const at::Tensor weight = torch::randn({100});
  const TensorList list({weight});
  IterateAverage iterates(list);
  iterates.begin();
  const at::Tensor start = weight.clone();
  weight.mul_(2);
  iterates.begin();
  EXPECT_TRUE(bitwise_equal(iterates.iterate().tensors()[0], start));
}

}  // namespace
}  // namespace leapverify

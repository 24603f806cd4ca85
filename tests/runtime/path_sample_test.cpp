// Distances along the way of tensors, told by a sample of their elements.
#include <gtest/gtest.h>
#include <leapverify/runtime/path_sample.h>
#include <leapverify/runtime/weight_average.h>
#include <torch/torch.h>

#include <cmath>
#include <vector>

namespace leapverify {
namespace {

double squared(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).square().sum().item<double>();
}

TEST(PathSample, OfAFewElementsTakesAllInAnyDtypeAndOrder) {
  torch::manual_seed(1);
  const std::vector<at::Tensor> tensors = {
      torch::randn({7, 5}), torch::randn({9, 3}).to(at::kBFloat16),
      torch::randn({4, 6}, at::kDouble),
      torch::randn({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast), torch::randn({})};
  const TensorList list(tensors);
  PathSample path(list);
  std::vector<at::Tensor> first, last;
  for (const at::Tensor& tensor : tensors) first.push_back(tensor.clone());
  last = first;
  path.begin();
  for (int waypoint = 0; waypoint < 3; ++waypoint) {
    double from_start = 0;
    double moved = 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      tensors[i].add_(torch::randn_like(tensors[i]));
      from_start += squared(tensors[i], first[i]);
      moved += squared(tensors[i], last[i]);
      last[i] = tensors[i].clone();
    }
    const PathSample::Squares squares = path.take();
    EXPECT_NEAR(squares.from_start, from_start, 1e-9 * from_start);
    EXPECT_NEAR(squares.moved, moved, 1e-9 * moved);
  }
}

TEST(PathSample, OfManyTakesSomeOfEveryRowAndColumn) {
  const int rows = 2048;
  for (const int columns : {1024, 1000, 768}) {
    const at::Tensor matrix = torch::zeros({rows, columns});
    PathSample path{TensorList({matrix})};
    EXPECT_LE(path.byte_count(), 4 * 4 * ((std::int64_t{1} << 18) + 64)) << columns;
    path.begin();
    matrix.select(1, 17).fill_(1);
    EXPECT_NEAR(path.take().moved / rows, 1, 0.05) << columns;
    matrix.zero_();
    path.take();
    matrix.narrow(0, 100, 16).fill_(1);
    EXPECT_NEAR(path.take().moved / (16 * columns), 1, 0.05) << columns;
  }
}

TEST(PathSample, TakesSomeOfEveryChannelHoweverItLies) {
  const at::Tensor channels_last =
      torch::zeros({512, 256, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor transposed = torch::zeros({1024, 1536}).t();
  const at::Tensor little = torch::zeros({3});
  PathSample path{TensorList({channels_last, little, transposed})};
  path.begin();
  for (int channel = 0; channel < 256; channel += 51) {
    channels_last.zero_();
    path.take();
    channels_last.select(1, channel).fill_(1);
    EXPECT_NEAR(path.take().moved / (512 * 9), 1, 0.05) << channel;
  }
  channels_last.zero_();
  for (int row = 0; row < 1536; row += 307) {
    transposed.zero_();
    path.take();
    transposed.select(0, row).fill_(1);
    EXPECT_NEAR(path.take().moved / 1024, 1, 0.05) << row;
  }
}

TEST(PathSample, OfAFewElementsTheAverageIsThatOfAllTheirsBitwise) {
  torch::manual_seed(2);
  const std::vector<at::Tensor> tensors = {torch::randn({7, 5}), torch::randn({4, 6}, at::kDouble),
                                           torch::randn({9, 3}).to(at::kBFloat16)};
  const TensorList list(tensors);
  PathSample path(list);
  WeightAverage average(list, 0.9);
  path.begin();
  average.begin();
  for (int step = 0; step < 5; ++step) {
    double norm = 0;
    for (const at::Tensor& tensor : tensors) {
      tensor.add_(torch::randn_like(tensor));
      norm += tensor.to(at::kDouble).square().sum().item<double>();
    }
    path.update_average(0.9);
    average.update();
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_TRUE(at::equal(path.average().tensors()[i], average.tensors().tensors()[i].flatten()))
          << "tensor " << i << ", step " << step;
    }
    const double distance = leapverify::distance(list, &average.tensors());
    const PathSample::Stride stride = path.stride();
    EXPECT_DOUBLE_EQ(stride.from_average, distance * distance);
    EXPECT_NEAR(stride.norm, norm, 1e-9 * norm);
  }
  path.start_average();
  EXPECT_EQ(path.stride().from_average, 0);
}

TEST(PathSample, OfManyTheStrideIsThatOfAllWithinAFewPerCent) {
  torch::manual_seed(3);
  const at::Tensor matrix = torch::randn({2048, 768});
  const TensorList list({matrix, torch::randn({1000, 300}).contiguous()});
  PathSample path(list);
  WeightAverage average(list, 0.9);
  path.begin();
  average.begin();
  for (int step = 0; step < 3; ++step) {
    // A few rows far, as of frequent tokens, the others hardly.
    matrix.narrow(0, 0, 100).add_(torch::randn({100, 768}));
    matrix.add_(0.01 * torch::randn({2048, 768}));
    path.update_average(0.9);
    average.update();
  }
  const double norm = distance(list, nullptr);
  const double from_average = distance(list, &average.tensors());
  const PathSample::Stride stride = path.stride();
  EXPECT_NEAR(std::sqrt(stride.norm), norm, 0.02 * norm);
  EXPECT_NEAR(std::sqrt(stride.from_average), from_average, 0.02 * from_average);
}

TEST(PathSample, TellsTheSlopeOfTheWayInAnyDtypeAndOrder) {
  torch::manual_seed(4);
  const std::vector<at::Tensor> start = {
      torch::randn({7, 5}), torch::randn({9, 3}).to(at::kBFloat16),
      torch::randn({4, 6}, at::kDouble),
      torch::randn({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast), torch::randn({3, 3})};
  PathSample path{TensorList(start)};
  path.begin();
  std::vector<at::Tensor> tensors, gradients;
  double expected = 0;
  for (const at::Tensor& tensor : start) {
    tensors.push_back(tensor + torch::randn_like(tensor));
    gradients.push_back(torch::randn_like(tensor));
  }
  gradients[3] = gradients[3].contiguous();
  gradients[4] = at::Tensor();
  for (std::size_t i = 0; i < 4; ++i) {
    const at::Tensor way = tensors[i].to(at::kDouble) - start[i].to(at::kDouble);
    expected += (way * gradients[i].to(at::kDouble)).sum().item<double>();
  }
  EXPECT_NEAR(path.slope(gradients, tensors), expected, 1e-9 * (1 + std::abs(expected)));
  EXPECT_EQ(path.slope(gradients, start), 0) << "there is no way yet";
}

TEST(PathSample, OfManyTheSlopeIsThatOfAllWithinAFewPerCent) {
  torch::manual_seed(5);
  const at::Tensor start = torch::randn({2048, 768});
  PathSample path{TensorList({start})};
  path.begin();
  const at::Tensor gradient = torch::randn({2048, 768});
  const at::Tensor way = -0.1 * gradient + 0.1 * torch::randn({2048, 768});
  const double expected = (gradient * way).sum().item<double>();
  EXPECT_NEAR(path.slope({gradient}, {start + way}), expected, -0.02 * expected);
}

TEST(PathSample, OfAShardWithoutElementsIsZero) {
  const std::vector<at::Tensor> tensors = {torch::zeros({0, 5})};
  PathSample path{TensorList(tensors)};
  path.begin();
  path.update_average(0.9);
  EXPECT_EQ(path.take().moved, 0);
  EXPECT_EQ(path.stride().norm, 0);
  EXPECT_EQ(path.slope({torch::zeros({0, 5})}, tensors), 0);
}

TEST(PathSample, BeginsAnewWhereItWasForgotten) {
  const at::Tensor weight = torch::zeros({10});
  PathSample path{TensorList({weight})};
  path.begin();
  weight.fill_(1);
  path.begin();
  EXPECT_DOUBLE_EQ(path.take().from_start, 10) << "it was known where it began";
  EXPECT_DOUBLE_EQ(path.stride().from_average, 10);
  path.forget();
  path.begin();
  EXPECT_EQ(path.stride().from_average, 0);
  weight.fill_(3);
  const PathSample::Squares squares = path.take();
  EXPECT_DOUBLE_EQ(squares.from_start, 40);
  EXPECT_DOUBLE_EQ(squares.moved, 40);
}

}  // namespace
}  // namespace leapverify

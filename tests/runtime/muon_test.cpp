// Muon's update is nearly orthogonal, its other groups are AdamW's, and its state goes out and in.
#include <gmock/gmock.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/muon.h>
#include <leapverify/runtime/optimizer_state.h>

#include <cmath>

#include "runtime/tensor_matchers.h"

namespace leapverify {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
namespace optim = torch::optim;

std::vector<torch::Tensor> weights() {
  torch::manual_seed(5);
  std::vector<torch::Tensor> made;
  for (const auto& shape :
       std::vector<std::vector<std::int64_t>>{{24, 16}, {16, 24}, {24, 16}, {20, 20}, {31}}) {
    made.push_back(torch::randn(shape).requires_grad_());
  }
  return made;
}

/// Matrices in the first group, the last weight in the second.
std::vector<optim::OptimizerParamGroup> groups(const std::vector<torch::Tensor>& weights,
                                               MuonRate rate = MuonRate::kMatchAdamW) {
  auto matrices = std::make_unique<MuonOptions>(1e-2), others = std::make_unique<MuonOptions>(1e-3);
  matrices->orthogonalised = true;
  matrices->rate = rate;
  std::vector<optim::OptimizerParamGroup> made;
  made.emplace_back(std::vector<torch::Tensor>(weights.begin(), weights.end() - 1),
                    std::move(matrices));
  made.emplace_back(std::vector<torch::Tensor>{weights.back()}, std::move(others));
  return made;
}

void train(optim::Optimizer& optimizer, const std::vector<torch::Tensor>& weights, int first,
           int steps) {
  for (int step = first; step < first + steps; ++step) {
    torch::manual_seed(static_cast<std::uint64_t>(100 + step));
    for (torch::Tensor weight : weights) weight.mutable_grad() = torch::randn(weight.sizes());
    optimizer.step();
  }
}

TEST(Muon, MakesSingularValuesAboutOne) {
  for (const auto& shape : {std::pair(24, 16), std::pair(16, 24), std::pair(64, 64)}) {
    torch::manual_seed(1);
    const torch::Tensor found = orthogonal(torch::randn({3, shape.first, shape.second}) * 1e-3);
    ASSERT_EQ(found.sizes(), torch::IntArrayRef({3, shape.first, shape.second}));
    const torch::Tensor values = at::linalg_svdvals(found.to(torch::kFloat));
    // Small singular values of a square matrix may stay below.
    EXPECT_GT(values.median().item<double>(), 0.7);
    EXPECT_LT(values.max().item<double>(), 1.3);
  }
}

TEST(Muon, KeepsTheSingularVectors) {
  torch::manual_seed(2);
  const torch::Tensor matrix = torch::randn({1, 12, 40});
  const auto [u, s, v] = at::linalg_svd(matrix, /*full_matrices=*/false);
  const torch::Tensor rotated =
      torch::matmul(torch::matmul(u.mT(), orthogonal(matrix).to(torch::kFloat)), v.mT());
  const torch::Tensor off_diagonal = rotated - torch::diag_embed(torch::diagonal(rotated, 0, 1, 2));
  EXPECT_LT(off_diagonal.abs().max().item<double>(), 0.05) << "beyond the rounding of bf16";
}

TEST(Muon, OfAZeroGradientIsOnlyDecay) {
  const auto made = weights();
  Muon optimizer(groups(made));
  const torch::Tensor before = made[0].detach().clone();
  for (torch::Tensor weight : made) weight.mutable_grad() = torch::zeros_like(weight);
  optimizer.step();
  EXPECT_TRUE(torch::allclose(made[0], before * (1 - 1e-2 * 1e-2)));
}

TEST(Muon, StepsTheOtherGroupsAsAdamW) {
  const auto found = weights(), expected = weights();
  Muon muon(groups(found));
  FusedAdamW adamw({expected.back()}, optim::AdamWOptions(1e-3));
  train(muon, found, 0, 6);
  train(adamw, expected, 0, 6);
  EXPECT_TRUE(bitwise_equal(found.back(), expected.back()));
}

TEST(Muon, AnUpdateIsAsLargeAsTheRateSays) {
  for (const MuonRate rate : {MuonRate::kOriginal, MuonRate::kMatchAdamW}) {
    const auto made = weights();
    Muon optimizer(groups(made, rate));
    for (auto& group : optimizer.param_groups()) {
      static_cast<MuonOptions&>(group.options()).weight_decay(0);
    }
    const torch::Tensor before = made[0].detach().clone();
    train(optimizer, made, 0, 1);
    const double largest =
        at::linalg_svdvals((made[0] - before).detach()).max().item<double>() / 1e-2;
    const double factor =
        rate == MuonRate::kOriginal ? std::sqrt(24.0 / 16) : 0.2 * std::sqrt(24.0);
    EXPECT_GT(largest, 0.7 * factor);
    EXPECT_LT(largest, 1.3 * factor);
  }
}

TEST(Muon, GoesOnBitwiseFromItsState) {
  const auto whole = weights(), parts = weights();
  Muon one(groups(whole)), first(groups(parts)), second(groups(parts));
  train(one, whole, 0, 6);
  train(first, parts, 0, 3);
  import_state(second, export_state(first), "test");
  train(second, parts, 3, 3);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(parts[i], whole[i])) << "weight " << i;
  }
  const OptimizerState state = export_state(one);
  EXPECT_EQ(state.tensors.size(), 6u) << "a buffer of each matrix and both moments of the vector";
  EXPECT_THAT(state.json, HasSubstr("\"kind\":\"muon\""));
}

TEST(Muon, PassesByWhatHasNoGradient) {
  const auto made = weights();
  Muon optimizer(groups(made));
  const torch::Tensor before = made[1].detach().clone();
  torch::Tensor first = made[0];
  first.mutable_grad() = torch::ones_like(first);
  optimizer.step();
  EXPECT_TRUE(bitwise_equal(made[1], before));
  EXPECT_EQ(optimizer.state().size(), 1u);
}

TEST(Muon, RefusesWhatIsNoMatrix) {
  const auto made = weights();
  auto options = std::make_unique<MuonOptions>();
  options->orthogonalised = true;
  std::vector<optim::OptimizerParamGroup> wrong;
  wrong.emplace_back(std::vector<torch::Tensor>{made.back()}, std::move(options));
  EXPECT_THAT([&] { Muon optimizer(wrong); },
              ThrowsMessage<ContractError>(HasSubstr("not a parameter of shape [31]")));
}

}  // namespace
}  // namespace leapverify

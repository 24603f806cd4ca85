// Gradients of a step: the same from one pass or several, fp32 in either precision, and with
// activation checkpointing or without.
#include <gtest/gtest.h>
#include <leapverify/integrations/trainer/training_passes.h>

#include "integrations/models/small_pretrained.h"
#include "runtime/tensor_matchers.h"

namespace leapverify::trainer {
namespace {

struct Gradients {
  torch::Tensor loss;
  std::vector<torch::Tensor> tensors;
};

class TrainingPassesTest : public ::testing::Test {
 protected:
  TrainingPassesTest() : settings_{torch::kCPU, {}, 16, 8} {
    torch::manual_seed(4);
    model_ = std::make_shared<models::Gpt2>(testing::small_gpt2_options());
    const torch::Tensor text = torch::randint(97, {8, 17}, torch::kInt64);
    batch_ = {text.slice(1, 0, 16).contiguous(), text.slice(1, 1).contiguous()};
  }

  Gradients gradients() {
    model_->zero_grad();
    Gradients found;
    found.loss = TrainingPasses(*model_, settings_).backward(batch_);
    for (const torch::Tensor& parameter : model_->parameters()) {
      found.tensors.push_back(parameter.grad().clone());
    }
    return found;
  }

  /// The largest difference of a tensor, as a share of the tensor's norm.
  static double difference(const Gradients& a, const Gradients& b) {
    double largest = 0;
    for (std::size_t i = 0; i < a.tensors.size(); ++i) {
      largest = std::max(
          largest, ((a.tensors[i] - b.tensors[i]).norm() / b.tensors[i].norm()).item<double>());
    }
    return largest;
  }

  PassSettings settings_;
  std::shared_ptr<models::Gpt2> model_;
  TokenBatch batch_;
};

TEST_F(TrainingPassesTest, OnePassIsThePlainStep) {
  const Gradients found = gradients();
  model_->zero_grad();
  const torch::Tensor loss = torch::nn::functional::cross_entropy(
      model_->forward(batch_.tokens).flatten(0, 1), batch_.targets.flatten());
  loss.backward();
  EXPECT_TRUE(bitwise_equal(found.loss, loss));
  EXPECT_FALSE(found.loss.requires_grad());
  for (std::size_t i = 0; i < found.tensors.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(found.tensors[i], model_->parameters()[i].grad())) << i;
  }
}

TEST_F(TrainingPassesTest, SeveralPassesGiveTheMeanOverTheWholeBatch) {
  const Gradients whole = gradients();
  for (const std::int64_t rows : {4, 3, 1}) {
    settings_.rows = rows;
    const Gradients parts = gradients();
    EXPECT_NEAR(parts.loss.item<double>(), whole.loss.item<double>(), 1e-6) << rows;
    EXPECT_LT(difference(parts, whole), 1e-5) << rows;
  }
}

TEST_F(TrainingPassesTest, IgnoredTargetsDoNotCountHoweverTheyAreSpread) {
  batch_.targets.narrow(0, 0, 3).narrow(1, 0, 13).fill_(models::kIgnoredTarget);
  batch_.targets.narrow(0, 4, 1).fill_(models::kIgnoredTarget);
  const Gradients whole = gradients();
  model_->zero_grad();
  const torch::Tensor loss = torch::nn::functional::cross_entropy(
      model_->forward(batch_.tokens).flatten(0, 1), batch_.targets.flatten());
  EXPECT_NEAR(whole.loss.item<double>(), loss.item<double>(), 1e-6);
  for (const std::int64_t rows : {3, 1}) {
    settings_.rows = rows;
    const Gradients parts = gradients();
    EXPECT_NEAR(parts.loss.item<double>(), loss.item<double>(), 1e-6) << rows;
    EXPECT_LT(difference(parts, whole), 1e-5) << rows;
  }
}

TEST_F(TrainingPassesTest, AddsToTheGradientsThereAre) {
  const Gradients once = gradients();
  TrainingPasses(*model_, settings_).backward(batch_);
  EXPECT_TRUE(torch::allclose(model_->parameters()[0].grad(), 2 * once.tensors[0]));
}

TEST_F(TrainingPassesTest, LossesOfSequencesComeInOrder) {
  TrainingPasses whole(*model_, settings_);
  const torch::NoGradGuard no_grad;
  const torch::Tensor expected = whole.sequence_losses(batch_);
  ASSERT_EQ(expected.sizes(), torch::IntArrayRef({8}));
  settings_.rows = 3;
  const torch::Tensor found = TrainingPasses(*model_, settings_).sequence_losses(batch_);
  EXPECT_TRUE(torch::allclose(found, expected, 1e-5, 0));
}

TEST_F(TrainingPassesTest, Bf16RoundsButKeepsLossAndGradientsInFp32) {
  const Gradients full = gradients();
  settings_.autocast.enabled = true;
  const Gradients rounded = gradients();
  EXPECT_EQ(rounded.loss.scalar_type(), torch::kFloat);
  for (const torch::Tensor& gradient : rounded.tensors) {
    EXPECT_EQ(gradient.scalar_type(), torch::kFloat);
  }
  // bf16 keeps 8 bits, a relative error of up to 2^-9 at each rounding.
  EXPECT_GT(difference(rounded, full), 1e-4);
  EXPECT_LT(difference(rounded, full), 3e-2);
  EXPECT_NEAR(rounded.loss.item<double>(), full.loss.item<double>(), 1e-2);
  EXPECT_FALSE(models::autocast_state(torch::kCPU).enabled);
}

TEST_F(TrainingPassesTest, Bf16WithActivationCheckpointingIsBitwiseThePlainWay) {
  settings_.autocast.enabled = true;
  settings_.rows = 4;
  const Gradients plain = gradients();
  model_->set_activation_checkpointing(true);
  const Gradients checkpointed = gradients();
  EXPECT_TRUE(bitwise_equal(checkpointed.loss, plain.loss));
  for (std::size_t i = 0; i < plain.tensors.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(checkpointed.tensors[i], plain.tensors[i])) << i;
  }
}

}  // namespace
}  // namespace leapverify::trainer

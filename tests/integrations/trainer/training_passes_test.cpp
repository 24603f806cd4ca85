// Gradients of a step: the same from one pass or several, fp32 in either precision, with activation
// checkpointing or without, and from a pass that is replayed on a GPU.
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

/// On a GPU, with a batch whose last part is smaller than the others.
class CapturedPassesTest : public TrainingPassesTest {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
    settings_.device = torch::kCUDA;
    settings_.rows = 3;
    model_->to(torch::kCUDA);
    batch_ = to_device(batch_, torch::kCUDA);
  }

  /// Of `steps` steps that move the weights along the gradients.
  std::vector<torch::Tensor> weights_after(int steps, bool captured) {
    settings_.cuda_graph = captured;
    const std::shared_ptr<models::Gpt2> model = fresh_model();
    torch::cuda::manual_seed(3);
    TrainingPasses passes(*model, settings_);
    for (int step = 0; step < steps; ++step) {
      model->zero_grad();
      losses_.push_back(passes.backward(batch_));
      const torch::NoGradGuard no_grad;
      for (torch::Tensor& parameter : model->parameters()) parameter.sub_(parameter.grad());
    }
    return model->parameters();
  }

  std::shared_ptr<models::Gpt2> fresh_model() const {
    torch::manual_seed(5);
    auto model = std::make_shared<models::Gpt2>(testing::small_gpt2_options(dropout_));
    model->to(torch::kCUDA);
    return model;
  }

  double dropout_ = 0;
  std::vector<torch::Tensor> losses_;
};

TEST_F(CapturedPassesTest, AreBitwiseThePlainOnes_cuda) {
  for (const double dropout : {0.0, 0.2}) {
    dropout_ = dropout;
    losses_.clear();
    constexpr int kSteps = 8;
    const std::vector<torch::Tensor> plain = weights_after(kSteps, false);
    const std::vector<torch::Tensor> again = weights_after(kSteps, false);
    const std::vector<torch::Tensor> captured = weights_after(kSteps, true);
    for (std::size_t i = 0; i < plain.size(); ++i) {
      ASSERT_TRUE(bitwise_equal(again[i], plain[i])) << "the GPU itself, parameter " << i;
      EXPECT_TRUE(bitwise_equal(captured[i], plain[i])) << dropout << ", parameter " << i;
    }
    for (int step = 0; step < kSteps; ++step) {
      EXPECT_TRUE(bitwise_equal(losses_[2 * kSteps + step], losses_[step])) << dropout << step;
    }
  }
}

TEST_F(CapturedPassesTest, AddToGradientsOfOthers_cuda) {
  settings_.cuda_graph = true;
  TrainingPasses passes(*model_, settings_);
  for (int step = 0; step < 4; ++step) {
    model_->zero_grad();
    passes.backward(batch_);
  }
  const torch::Tensor once = model_->parameters().front().grad().clone();
  for (torch::Tensor& parameter : model_->parameters()) {
    parameter.mutable_grad() = torch::ones_like(parameter);
  }
  passes.backward(batch_);
  EXPECT_TRUE(torch::allclose(model_->parameters().front().grad(), once + 1));
}

TEST_F(CapturedPassesTest, FollowWeightsThatMoved_cuda) {
  settings_.cuda_graph = true;
  TrainingPasses passes(*model_, settings_);
  const auto loss_of_now = [&] {
    model_->zero_grad();
    return passes.backward(batch_);
  };
  for (int step = 0; step < 4; ++step) loss_of_now();
  const torch::Tensor before = loss_of_now();
  for (torch::Tensor& parameter : model_->parameters()) {
    parameter.set_data(parameter.detach().clone() * 1.5);
  }
  const torch::Tensor captured = loss_of_now();
  settings_.cuda_graph = false;
  const torch::Tensor plain = TrainingPasses(*model_, settings_).backward(batch_);
  EXPECT_TRUE(bitwise_equal(captured, plain));
  EXPECT_FALSE(bitwise_equal(captured, before));
}

}  // namespace
}  // namespace leapverify::trainer

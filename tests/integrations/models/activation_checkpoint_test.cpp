// Activation checkpointing changes no bit, costs a second run, and saves the memory it is for.
#include <gmock/gmock.h>
#include <leapverify/integrations/models/autocast.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/random_state.h>

#include <optional>

#include "integrations/models/small_pretrained.h"
#include "runtime/tensor_matchers.h"

namespace leapverify::models {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// A segment with dropout that counts its runs.
struct Layer {
  torch::nn::Linear linear{nullptr};
  std::shared_ptr<int> runs = std::make_shared<int>(0);

  Layer() {
    torch::manual_seed(3);
    linear = torch::nn::Linear(8, 8);
  }
  Segment segment() const {
    return [linear = linear, runs = runs](const torch::Tensor& x) mutable {
      ++*runs;
      return x + torch::dropout(torch::tanh(linear(x)), 0.5, /*train=*/true);
    };
  }
};

TEST(Checkpoint, RunsAgainInBackwardOnly) {
  const Layer layer;
  const torch::Tensor x = torch::rand({4, 8});
  const torch::Tensor y = checkpoint(layer.segment(), x, layer.linear->parameters());
  EXPECT_EQ(*layer.runs, 1);
  y.sum().backward();
  EXPECT_EQ(*layer.runs, 2);
}

TEST(Checkpoint, ResultGradientsAndRandomStateAreThoseOfThePlainRun) {
  const Layer layer;
  const auto run = [&](bool checkpointed) {
    torch::manual_seed(17);
    const torch::Tensor x = torch::rand({4, 8}).requires_grad_();
    torch::Tensor y = x;
    for (int i = 0; i < 3; ++i) {
      y = checkpointed ? checkpoint(layer.segment(), y, layer.linear->parameters())
                       : layer.segment()(y);
    }
    const torch::Tensor loss = y.square().sum();
    const torch::Tensor drawn = torch::rand({3});
    const auto gradients =
        torch::autograd::grad({loss}, {x, layer.linear->weight, layer.linear->bias});
    const RandomState state = capture_random_state(at::kCPU);
    return std::vector<torch::Tensor>{loss,         drawn,        gradients[0],
                                      gradients[1], gradients[2], state.cpu};
  };
  const auto plain = run(false), checkpointed = run(true);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(checkpointed[i], plain[i])) << "value " << i;
  }
  EXPECT_FALSE(layer.linear->weight.grad().defined()) << "autograd::grad accumulates nothing";
}

TEST(Checkpoint, GivesGradientsOnlyToWhatRequiresThem) {
  const Layer layer;
  const auto gradient_of = [&](torch::Tensor x) {
    torch::manual_seed(1);
    checkpoint(layer.segment(), x, layer.linear->parameters()).sum().backward();
    return x.grad();
  };
  layer.linear->weight.requires_grad_(false);
  EXPECT_FALSE(gradient_of(torch::ones({2, 8})).defined());
  EXPECT_FALSE(layer.linear->weight.grad().defined());
  EXPECT_TRUE(layer.linear->bias.grad().defined());
  layer.linear->bias.requires_grad_(false);
  EXPECT_TRUE(gradient_of(torch::ones({2, 8}).requires_grad_()).defined());
}

TEST(Checkpoint, RefusesGradientsOfGradients) {
  const Layer layer;
  const torch::Tensor x = torch::rand({4, 8}).requires_grad_();
  const torch::Tensor loss =
      checkpoint(layer.segment(), x, layer.linear->parameters()).square().sum();
  EXPECT_THAT(
      [&] { torch::autograd::grad({loss}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true); },
      ThrowsMessage<ContractError>(HasSubstr("cannot be differentiated twice (create_graph)")));
}

TEST(Checkpoint, RefusesWeightsThatChangedBeforeBackward) {
  const Layer layer;
  const torch::Tensor y =
      checkpoint(layer.segment(), torch::rand({4, 8}), layer.linear->parameters());
  {
    const torch::NoGradGuard no_grad;
    layer.linear->weight.mul_(2);
  }
  EXPECT_THAT([&] { y.sum().backward(); },
              ThrowsMessage<c10::Error>(HasSubstr("modified by an inplace operation")));
}

TEST(Checkpoint, RunsAgainInThePrecisionOfTheFirstRun) {
  const Layer layer;
  const auto run = [&](bool checkpointed, bool backward_within) {
    // Gradients of the uses of a cached copy would be summed in bf16.
    const AutocastState bf16{/*enabled=*/true, at::kBFloat16, /*cached=*/checkpointed};
    torch::manual_seed(17);
    const torch::Tensor x = torch::rand({4, 8}).requires_grad_();
    std::optional<AutocastScope> scope(std::in_place, at::kCPU, bf16);
    torch::Tensor y = x;
    // Twice the same weight: a copy of it without gradients must not serve the second time.
    for (int i = 0; i < 2; ++i) {
      y = checkpointed ? checkpoint(layer.segment(), y, layer.linear->parameters())
                       : layer.segment()(y);
    }
    y = layer.segment()(y);
    if (!backward_within) scope.reset();
    std::vector<torch::Tensor> results =
        torch::autograd::grad({y.sum()}, {x, layer.linear->weight, layer.linear->bias});
    EXPECT_EQ(autocast_state(at::kCPU).enabled, backward_within);
    results.push_back(y);
    return results;
  };
  const auto plain = run(false, false);
  for (const bool backward_within : {false, true}) {
    const auto checkpointed = run(true, backward_within);
    for (std::size_t i = 0; i < plain.size(); ++i) {
      EXPECT_TRUE(bitwise_equal(checkpointed[i], plain[i]))
          << "value " << i << ", backward within " << backward_within;
    }
  }
}

/// Counts the bytes of tensors that are alive.
class LiveBytes : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t,
                         c10::Device) override {
    bytes_ += bytes;
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t bytes() const { return bytes_; }

 private:
  std::int64_t bytes_ = 0;
};

struct Step {
  torch::Tensor loss;
  std::vector<torch::Tensor> gradients;
  torch::Tensor random_state;
  /// What the forward pass left for the backward pass.
  std::int64_t kept_bytes = 0;
};

/// A training step; `between` is called between forward and backward.
Step training_step(PretrainedModel& model, const std::function<void()>& between,
                   bool in_bf16 = false) {
  torch::manual_seed(23);
  const torch::Tensor tokens = torch::randint(97, {4, 16}, torch::kInt64);
  model.zero_grad();
  const auto live = std::make_shared<LiveBytes>();
  const c10::DebugInfoGuard count(c10::DebugInfoKind::PROFILER_STATE, live);
  Step step;
  {
    AutocastState state;
    state.enabled = in_bf16;
    const AutocastScope autocast(at::kCPU, state);
    const torch::Tensor hidden = model.hidden(tokens);
    step.kept_bytes = live->bytes();
    step.loss = sequence_losses(model, hidden, tokens.flip(1)).mean();
  }
  between();
  step.loss.backward();
  for (const torch::Tensor& parameter : model.parameters()) {
    step.gradients.push_back(parameter.grad().clone());
  }
  step.random_state = capture_random_state(at::kCPU).cpu;
  return step;
}

void expect_equal(const Step& found, const Step& expected) {
  EXPECT_TRUE(bitwise_equal(found.loss, expected.loss));
  EXPECT_TRUE(bitwise_equal(found.random_state, expected.random_state));
  ASSERT_EQ(found.gradients.size(), expected.gradients.size());
  for (std::size_t i = 0; i < found.gradients.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(found.gradients[i], expected.gradients[i])) << "parameter " << i;
  }
}

class CheckpointedModel : public ::testing::TestWithParam<const char*> {
 protected:
  static std::shared_ptr<PretrainedModel> make(double dropout) {
    torch::manual_seed(7);
    if (std::string(GetParam()) == "gpt2") {
      return std::make_shared<Gpt2>(testing::small_gpt2_options(dropout));
    }
    return std::make_shared<Qwen2>(testing::small_qwen2_options(dropout));
  }
};

TEST_P(CheckpointedModel, TrainsBitwiseThePlainWay) {
  const auto model = make(0.2);
  const Step plain = training_step(*model, [] {});
  model->set_activation_checkpointing(true);
  expect_equal(training_step(*model, [] {}), plain);

  // Otherwise equal gradients would say nothing of the random state.
  const auto without_dropout = make(0);
  EXPECT_FALSE(torch::equal(training_step(*without_dropout, [] {}).loss, plain.loss));
}

TEST_P(CheckpointedModel, TrainsBitwiseThePlainWayInBf16) {
  const auto model = make(0.2);
  const Step in_fp32 = training_step(*model, [] {});
  const Step plain = training_step(
      *model, [] {}, /*in_bf16=*/true);
  EXPECT_FALSE(torch::equal(plain.loss, in_fp32.loss)) << "bf16 makes no difference";
  model->set_activation_checkpointing(true);
  expect_equal(training_step(
                   *model, [] {}, /*in_bf16=*/true),
               plain);
}

TEST_P(CheckpointedModel, RunsAgainInTheModeOfTheForwardPass) {
  const auto model = make(0.2);
  const Step plain = training_step(*model, [] {});
  model->set_activation_checkpointing(true);
  expect_equal(training_step(*model, [&] { model->eval(); }), plain);
}

TEST_P(CheckpointedModel, KeepsLittleMoreThanTheInputOfEachBlock) {
  const auto model = make(0.2);
  const std::int64_t plain = training_step(*model, [] {}).kept_bytes;
  model->set_activation_checkpointing(true);
  const std::int64_t checkpointed = training_step(*model, [] {}).kept_bytes;
  std::printf("%s keeps %lld bytes, checkpointed %lld\n", GetParam(), static_cast<long long>(plain),
              static_cast<long long>(checkpointed));
  // Inputs of 3 blocks and a few tensors of their size outside; three random states of 5 KB.
  const std::int64_t block_input = 4 * 16 * (std::string(GetParam()) == "gpt2" ? 24 : 32) * 4;
  EXPECT_LT(checkpointed, 9 * block_input + 3 * 6000);
  EXPECT_LT(checkpointed, plain / 4);
}

TEST_P(CheckpointedModel, EvaluatesThePlainWay) {
  const auto model = make(0);
  const torch::Tensor tokens = torch::zeros({1, 4}, torch::kInt64);
  const torch::NoGradGuard no_grad;
  const torch::Tensor plain = model->hidden(tokens);
  model->set_activation_checkpointing(true);
  EXPECT_TRUE(bitwise_equal(model->hidden(tokens), plain));
}

INSTANTIATE_TEST_SUITE_P(All, CheckpointedModel, ::testing::Values("gpt2", "qwen2"),
                         [](const auto& instance) { return std::string(instance.param); });

}  // namespace
}  // namespace leapverify::models

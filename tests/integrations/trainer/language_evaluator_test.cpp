// The evaluator answers for the weights of now, in either precision, whatever the size of its passes.
#include <gtest/gtest.h>
#include <leapverify/integrations/models/lora.h>
#include <leapverify/integrations/trainer/batch_loader.h>
#include <leapverify/integrations/trainer/language_evaluator.h>

#include "integrations/models/small_gpt.h"
#include "integrations/temporary_folder.h"
#include "runtime/tensor_matchers.h"

namespace leapverify::trainer {
namespace {

class LanguageEvaluatorTest : public testing::TemporaryFolder {
 protected:
  LanguageEvaluatorTest() : settings_{torch::kCPU, {}, 12, 4} {
    std::string text;
    for (int i = 0; i < 900; ++i) text += "line " + std::to_string(i * i % 97) + "\n";
    data::DataOptions options;
    options.path = write("text.txt", text);
    text_.emplace(options, 256, settings_.context, 8);
    model_ = testing::small_gpt();
  }

  Evaluation evaluate() {
    const torch::NoGradGuard no_grad;
    return LanguageEvaluator(*model_, *text_, 24, settings_).evaluate({0, 3, 1, 2, 5}, true);
  }

  PassSettings settings_;
  std::optional<data::Text> text_;
  std::shared_ptr<models::Gpt> model_;
};

TEST_F(LanguageEvaluatorTest, SequencesAreOfTheRunsLengthNotTheModels) {
  EXPECT_EQ(model_->context(), 16);
  EXPECT_EQ(BatchLoader(*text_, 0, 8, settings_).take(0).tokens.sizes(),
            torch::IntArrayRef({8, 12}));
  EXPECT_EQ(evaluate().losses.size(0), 5);
  EXPECT_GT(validation_loss(*model_, *text_, 5, settings_), 4);
}

TEST_F(LanguageEvaluatorTest, AStepCostsThreeForwardsOfEachOfItsSequences) {
  EXPECT_EQ(step_cost(*model_, /*activation_checkpointing=*/false, 8), 24);
  EXPECT_EQ(step_cost(*model_, /*activation_checkpointing=*/true, 8), 32);
  EXPECT_EQ(LanguageEvaluator(*model_, *text_, 24, settings_).step_cost(), 24);
}

TEST_F(LanguageEvaluatorTest, AStepOnAdaptersCostsLittleMoreThanTwo) {
  models::LoraOptions lora;
  lora.rank = 1;
  models::add_lora(*model_, lora);
  double all = 0, trained = 0;
  for (const torch::Tensor& parameter : model_->parameters()) {
    all += static_cast<double>(parameter.numel());
    if (parameter.requires_grad()) trained += static_cast<double>(parameter.numel());
  }
  EXPECT_LT(trained / all, 0.1);
  EXPECT_DOUBLE_EQ(step_cost(*model_, false, 8), 8 * (2 + trained / all));
  EXPECT_DOUBLE_EQ(step_cost(*model_, true, 8), 8 * (3 + trained / all));
}

TEST_F(LanguageEvaluatorTest, SmallerPassesGiveTheSameLosses) {
  const Evaluation expected = evaluate();
  const double validated = validation_loss(*model_, *text_, 5, settings_);
  const auto expect_same = [&](const char* what) {
    const Evaluation found = evaluate();
    EXPECT_TRUE(torch::allclose(found.losses, expected.losses, 1e-5, 0)) << what;
    EXPECT_TRUE(torch::allclose(found.activations, expected.activations, 1e-4, 1e-5)) << what;
    EXPECT_NEAR(validation_loss(*model_, *text_, 5, settings_), validated, 1e-5) << what;
  };
  settings_.rows = 2;
  expect_same("as many as trained on");
  settings_.held_out_rows = 5;
  expect_same("all at once");
}

TEST_F(LanguageEvaluatorTest, InBf16AnswersForTheWeightsOfNow) {
  const Evaluation in_fp32 = evaluate();
  settings_.autocast.enabled = true;
  const Evaluation before = evaluate();
  EXPECT_EQ(before.losses.scalar_type(), torch::kFloat);
  EXPECT_TRUE(torch::allclose(before.losses, in_fp32.losses, 1e-2, 0));
  EXPECT_FALSE(torch::equal(before.losses, in_fp32.losses));
  const auto scale_weights = [&](double factor) {
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& parameter : model_->parameters()) parameter.mul_(factor);
  };
  scale_weights(2);
  EXPECT_FALSE(torch::allclose(evaluate().losses, before.losses, 1e-2, 0));
  scale_weights(0.5);
  EXPECT_TRUE(bitwise_equal(evaluate().losses, before.losses));
}

}  // namespace
}  // namespace leapverify::trainer

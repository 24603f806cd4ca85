#include <gmock/gmock.h>

#include "integrations/models/small_gpt.h"

namespace leapverify::models {
namespace {

using ::testing::HasSubstr;
using testing::random_tokens;
using testing::small_gpt;
using ::testing::ThrowsMessage;

TEST(SequenceLosses, AreTheMeanNatsOfEachSequence) {
  const auto model = small_gpt();
  const torch::Tensor tokens = random_tokens(3, 9);
  const torch::Tensor targets = tokens.flip(1).contiguous();
  const torch::Tensor hidden = model->hidden(tokens);
  const torch::Tensor losses = sequence_losses(*model, hidden, targets);
  ASSERT_EQ(losses.sizes(), (std::vector<std::int64_t>{3}));

  const torch::Tensor logits = model->logits(hidden).to(torch::kDouble);
  for (std::int64_t row = 0; row < 3; ++row) {
    double sum = 0;
    for (std::int64_t time = 0; time < 9; ++time) {
      const torch::Tensor scores = logits[row][time];
      const double normaliser = scores.exp().sum().log().item<double>();
      sum += normaliser - scores[targets[row][time].item<std::int64_t>()].item<double>();
    }
    EXPECT_NEAR(losses[row].item<double>(), sum / 9, 1e-5) << "sequence " << row;
  }
}

TEST(SequenceLosses, OfAFreshModelAreNearThoseOfGuessing) {
  const auto model = small_gpt();
  const torch::Tensor tokens = random_tokens(4, 16);
  const torch::Tensor losses = sequence_losses(*model, model->hidden(tokens), tokens.flip(1));
  EXPECT_NEAR(losses.mean().item<double>(), std::log(256.0), 0.2);
}

TEST(SequenceLosses, AreTheMeanOverTheTargetsThatCount) {
  const auto model = small_gpt();
  const torch::Tensor tokens = random_tokens(3, 9);
  const torch::Tensor targets = tokens.flip(1).contiguous();
  const torch::Tensor hidden = model->hidden(tokens);
  torch::Tensor masked = targets.clone();
  masked[1].slice(0, 0, 4).fill_(-100);
  masked[1].slice(0, 7).fill_(-100);
  masked[2].fill_(-100);
  const torch::Tensor losses = sequence_losses(*model, hidden, masked);
  const torch::Tensor counted =
      sequence_losses(*model, hidden.slice(1, 4, 7), targets.slice(1, 4, 7));
  EXPECT_EQ(losses[0].item<float>(), sequence_losses(*model, hidden, targets)[0].item<float>());
  EXPECT_NEAR(losses[1].item<double>(), counted[1].item<double>(), 1e-6);
  EXPECT_TRUE(std::isnan(losses[2].item<float>())) << "nothing counts there";
}

TEST(SequenceLosses, RefuseTargetsOfAnotherShape) {
  const auto model = small_gpt();
  const torch::Tensor hidden = model->hidden(random_tokens(2, 4));
  EXPECT_THAT(
      [&] { sequence_losses(*model, hidden, random_tokens(2, 5)); },
      ThrowsMessage<ContractError>(HasSubstr("activations [2, 4, 24] with targets [2, 5]")));
}

TEST(MakeModel, MakesAGptOfTheGivenSize) {
  ModelOptions options;
  options.gpt = testing::small_options();
  const auto model = make_model(options);
  ASSERT_NE(dynamic_cast<Gpt*>(model.get()), nullptr);
  EXPECT_EQ(model->context(), 16);
}

}  // namespace
}  // namespace leapverify::models

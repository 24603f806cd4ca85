#include <gmock/gmock.h>

#include "integrations/models/small_gpt.h"
#include "integrations/models/small_pretrained.h"

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

TEST(PaddedLogits, AreThoseOfTheModelAndNeverChosen) {
  const auto model = small_gpt();
  const torch::Tensor hidden = torch::randn({2, 5, 24});
  const torch::Tensor logits = model->logits(hidden);
  EXPECT_TRUE(torch::equal(padded_logits(*model, hidden, 64), logits)) << "256 is a multiple";
  const torch::Tensor padded = padded_logits(*model, hidden, 100);
  ASSERT_EQ(padded.sizes(), (std::vector<std::int64_t>{2, 5, 300}));
  EXPECT_TRUE(torch::allclose(padded.narrow(-1, 0, 256), logits, 1e-5, 1e-6));
  EXPECT_TRUE(torch::isneginf(padded.narrow(-1, 256, 44)).all().item<bool>());
}

TEST(PaddedLogits, GiveTheSameLossAndGradients) {
  const auto model = std::make_shared<Gpt2>(testing::small_gpt2_options());
  const torch::Tensor tokens = torch::randint(97, {3, 9}, torch::kInt64);
  const torch::Tensor targets = tokens.flip(1).contiguous();
  const auto gradients_of = [&](const torch::Tensor& logits, torch::Tensor* loss) {
    model->zero_grad();
    *loss = cross_entropy(logits, targets, at::Reduction::Mean);
    loss->backward();
    std::vector<torch::Tensor> gradients;
    for (const torch::Tensor& parameter : model->parameters()) {
      gradients.push_back(parameter.grad().clone());
    }
    return gradients;
  };
  torch::Tensor loss, padded_loss;
  const auto plain = gradients_of(model->forward(tokens), &loss);
  const auto padded = gradients_of(padded_logits(*model, model->hidden(tokens), 64), &padded_loss);
  EXPECT_NEAR(padded_loss.item<double>(), loss.item<double>(), 1e-6);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    EXPECT_LT((padded[i] - plain[i]).norm().item<double>(), 1e-5 * plain[i].norm().item<double>());
  }
}

TEST(SequenceLosses, RefuseTargetsOfAnotherShape) {
  const auto model = small_gpt();
  const torch::Tensor hidden = model->hidden(random_tokens(2, 4));
  EXPECT_THAT(
      [&] { sequence_losses(*model, hidden, random_tokens(2, 5)); },
      ThrowsMessage<ContractError>(HasSubstr("activations [2, 4, 24] with targets [2, 5]")));
}

TEST(MakeModel, MakesTheModelThatIsNamed) {
  ModelOptions options;
  options.gpt = testing::small_options();
  options.gpt2 = testing::small_gpt2_options();
  options.qwen2 = testing::small_qwen2_options();
  const auto gpt = make_model(options);
  EXPECT_NE(dynamic_cast<Gpt*>(gpt.get()), nullptr);
  options.name = ModelName::kGpt2;
  const auto gpt2 = make_model(options);
  EXPECT_EQ(dynamic_cast<Gpt*>(gpt2.get()), nullptr);
  EXPECT_NE(dynamic_cast<Gpt2*>(gpt2.get()), nullptr);
  options.name = ModelName::kQwen2;
  const auto qwen2 = make_model(options);
  EXPECT_NE(dynamic_cast<Qwen2*>(qwen2.get()), nullptr);
}

TEST(MakeModel, KnowsTheSizeBeforehand) {
  ModelOptions options;
  options.gpt2 = testing::small_gpt2_options();
  options.qwen2 = testing::small_qwen2_options();
  options.qwen2.context = 20;
  for (const ModelName name : {ModelName::kGpt, ModelName::kGpt2, ModelName::kQwen2}) {
    options.name = name;
    const ModelSize size = model_size(options);
    const auto model = make_model(options);
    EXPECT_EQ(size.context, model->context()) << name_of(name);
    EXPECT_EQ(size.vocabulary, model->stored_weights().weights.front().parameter.size(0))
        << name_of(name);
  }
}

}  // namespace
}  // namespace leapverify::models

#include <gmock/gmock.h>

#include "integrations/models/small_gpt.h"

namespace leapverify::models {
namespace {

using ::testing::HasSubstr;
using testing::random_tokens;
using testing::small_gpt;
using testing::small_options;
using ::testing::ThrowsMessage;

TEST(Gpt, HiddenAndLogitsHaveTheStatedShapes) {
  const auto model = small_gpt();
  const torch::Tensor hidden = model->hidden(random_tokens(2, 10));
  EXPECT_EQ(hidden.sizes(), (std::vector<std::int64_t>{2, 10, 24}));
  EXPECT_EQ(model->logits(hidden).sizes(), (std::vector<std::int64_t>{2, 10, 256}));
  EXPECT_TRUE(torch::equal(model->forward(random_tokens(2, 10)), model->logits(hidden)));
}

TEST(Gpt, HiddenIsNormalised) {
  const torch::Tensor hidden = small_gpt()->hidden(random_tokens(2, 10));
  EXPECT_LT(hidden.mean(-1).abs().max().item<float>(), 1e-5);
  EXPECT_TRUE(torch::allclose(hidden.var(-1, /*unbiased=*/false), torch::ones({2, 10}), 5e-2));
}

TEST(Gpt, ALaterTokenChangesNoEarlierActivation) {
  const auto model = small_gpt();
  const torch::Tensor tokens = random_tokens(3, 16);
  const torch::Tensor before = model->hidden(tokens);
  for (std::int64_t time = 1; time < 16; ++time) {
    torch::Tensor changed = tokens.clone();
    changed.select(1, time).add_(1).remainder_(256);
    const torch::Tensor after = model->hidden(changed);
    EXPECT_TRUE(torch::equal(after.narrow(1, 0, time), before.narrow(1, 0, time)))
        << "token " << time;
    EXPECT_FALSE(torch::equal(after.narrow(1, time, 1), before.narrow(1, time, 1)));
  }
}

TEST(Gpt, AnEarlierTokenChangesLaterActivations) {
  const auto model = small_gpt();
  const torch::Tensor tokens = random_tokens(1, 16);
  torch::Tensor changed = tokens.clone();
  changed[0][0] = (tokens[0][0] + 1) % 256;
  EXPECT_FALSE(torch::equal(model->hidden(tokens)[0][15], model->hidden(changed)[0][15]));
}

TEST(Gpt, TheSameTokenDiffersFromPlaceToPlace) {
  const torch::Tensor hidden = small_gpt()->hidden(torch::zeros({1, 2}, torch::kInt64));
  EXPECT_FALSE(torch::equal(hidden[0][0], hidden[0][1]));
}

TEST(Gpt, TheOutputHeadIsTheTokenEmbedding) {
  const auto model = small_gpt();
  const torch::Tensor embedding = model->named_parameters()["token_embedding.weight"];
  const torch::Tensor hidden = model->hidden(random_tokens(1, 4)).detach();
  EXPECT_TRUE(torch::allclose(model->logits(hidden), hidden.matmul(embedding.t()), 1e-5, 1e-6));
  model->logits(hidden).sum().backward();
  EXPECT_TRUE(embedding.grad().defined());
  for (const auto& parameter : model->named_parameters()) {
    EXPECT_EQ(parameter.key().find("head"), std::string::npos) << parameter.key();
  }
}

TEST(Gpt, WeightsStartAsInGpt2) {
  GptOptions options = small_options();
  options.width = 192;
  options.layers = 8;
  const auto parameters = small_gpt(options)->named_parameters();
  const double residual = 0.02 / std::sqrt(2.0 * 8);
  for (const auto& parameter : parameters) {
    const std::string& name = parameter.key();
    const bool into_residual = name.find("_out.weight") != std::string::npos;
    const bool norm = name.find("norm") != std::string::npos;
    if (name.find("bias") != std::string::npos) {
      EXPECT_EQ(parameter.value().abs().max().item<float>(), 0) << name;
    } else if (norm) {
      EXPECT_TRUE((parameter.value() == 1).all().item<bool>()) << name;
    } else {
      const double expected = into_residual ? residual : 0.02;
      EXPECT_NEAR(parameter.value().std().item<double>() / expected, 1, 0.05) << name;
    }
  }
}

TEST(Gpt, HasTheParametersOfItsSize) {
  std::int64_t count = 0;
  for (const torch::Tensor& parameter : small_gpt()->parameters()) count += parameter.numel();
  const std::int64_t width = 24;
  const std::int64_t block = 12 * width * width + 13 * width;
  EXPECT_EQ(count, 256 * width + 16 * width + 2 * block + 2 * width);
}

TEST(Gpt, DropoutActsInTrainingOnly) {
  GptOptions options = small_options();
  options.dropout = 0.5;
  const auto model = small_gpt(options);
  const torch::Tensor tokens = random_tokens(1, 8);
  EXPECT_FALSE(torch::equal(model->hidden(tokens), model->hidden(tokens)));
  model->eval();
  EXPECT_TRUE(torch::equal(model->hidden(tokens), model->hidden(tokens)));
}

TEST(Gpt, EveryParameterGetsAGradient) {
  const auto model = small_gpt();
  const torch::Tensor tokens = random_tokens(2, 16);
  sequence_losses(*model, model->hidden(tokens), tokens).mean().backward();
  for (const auto& parameter : model->named_parameters()) {
    ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
    EXPECT_GT(parameter.value().grad().abs().max().item<float>(), 0) << parameter.key();
  }
}

TEST(Gpt, RefusesMoreTokensThanItsContext) {
  const auto model = small_gpt();
  EXPECT_THAT(
      [&] { model->hidden(random_tokens(1, 17)); },
      ThrowsMessage<ContractError>(HasSubstr("tokens [1, 17], expected [batch, at most 16]")));
  EXPECT_THAT([&] { model->hidden(random_tokens(1, 16)[0]); },
              ThrowsMessage<ContractError>(HasSubstr("tokens [16], expected [batch, at most 16]")));
}

TEST(Gpt, RefusesIllegalOptions) {
  GptOptions options;
  options.heads = 3;
  EXPECT_THAT(
      [&] { Gpt model(options); },
      ThrowsMessage<InvalidOption>("width: 128 is not legal, expected a multiple of heads = 3"));
}

}  // namespace
}  // namespace leapverify::models

#include <gmock/gmock.h>
#include <leapverify/integrations/models/sample.h>

#include "integrations/models/small_gpt.h"

namespace leapverify::models {
namespace {

using ::testing::HasSubstr;
using testing::small_gpt;
using testing::small_options;
using ::testing::ThrowsMessage;

const std::vector<std::int64_t> kPrompt = {100, 101, 102};

TEST(Sample, WritesAsManyTokensAsAskedBeyondTheContext) {
  const auto tokens = sample(*small_gpt(), kPrompt, 40, 1, 3);
  ASSERT_EQ(tokens.size(), 40u);
  for (const std::int64_t token : tokens) {
    EXPECT_GE(token, 0);
    EXPECT_LT(token, 256);
  }
}

TEST(Sample, FollowsFromTheSeed) {
  const auto model = small_gpt();
  EXPECT_EQ(sample(*model, kPrompt, 20, 1, 3), sample(*model, kPrompt, 20, 1, 3));
  EXPECT_NE(sample(*model, kPrompt, 20, 1, 3), sample(*model, kPrompt, 20, 1, 4));
}

TEST(Sample, TakesTheLikeliestTokenAtTemperatureZero) {
  const auto model = small_gpt();
  const torch::Tensor logits = model->forward(torch::tensor(kPrompt).unsqueeze(0));
  const auto likeliest = logits[0][2].argmax().item<std::int64_t>();
  EXPECT_EQ(sample(*model, kPrompt, 1, 0, 3).front(), likeliest);
  EXPECT_EQ(sample(*model, kPrompt, 20, 0, 3), sample(*model, kPrompt, 20, 0, 4));
  EXPECT_EQ(sample(*model, kPrompt, 20, 1e-6, 3), sample(*model, kPrompt, 20, 0, 4));
}

TEST(Sample, LeavesTheGlobalGeneratorAlone) {
  const auto model = small_gpt();
  torch::manual_seed(5);
  const torch::Tensor expected = torch::rand({4});
  torch::manual_seed(5);
  sample(*model, kPrompt, 20, 1, 3);
  EXPECT_TRUE(torch::equal(torch::rand({4}), expected));
}

TEST(Sample, IgnoresDropoutAndRestoresTheMode) {
  GptOptions options = small_options();
  options.dropout = 0.5;
  const auto model = small_gpt(options);
  EXPECT_EQ(sample(*model, kPrompt, 20, 0, 3), sample(*model, kPrompt, 20, 0, 3));
  EXPECT_TRUE(model->is_training());
  model->eval();
  sample(*model, kPrompt, 2, 1, 3);
  EXPECT_FALSE(model->is_training());
}

TEST(Sample, DrawsAmongTheFirstChoicesOnly) {
  const auto model = small_gpt();
  for (const std::int64_t token : sample(*model, kPrompt, 50, 5, 3, /*choices=*/4)) {
    EXPECT_LT(token, 4);
  }
  EXPECT_EQ(sample(*model, kPrompt, 20, 1, 3, /*choices=*/256), sample(*model, kPrompt, 20, 1, 3));
  EXPECT_THAT([&] { sample(*model, kPrompt, 1, 1, 3, 0); },
              ThrowsMessage<ContractError>(HasSubstr("a draw among 0 tokens")));
}

TEST(Sample, RefusesAnEmptyPromptAndANegativeTemperature) {
  const auto model = small_gpt();
  EXPECT_THAT([&] { sample(*model, {}, 1, 1, 3); },
              ThrowsMessage<ContractError>(HasSubstr("the prompt is empty")));
  EXPECT_THAT([&] { sample(*model, kPrompt, 1, -1, 3); },
              ThrowsMessage<ContractError>(
                  HasSubstr("temperature -1, length 1, expected neither below 0")));
  EXPECT_TRUE(model->is_training());
}

}  // namespace
}  // namespace leapverify::models

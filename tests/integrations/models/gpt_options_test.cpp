#include <gmock/gmock.h>
#include <leapverify/integrations/models/gpt_options.h>

namespace leapverify::models {
namespace {

TEST(GptOptions, AreLegalByDefault) { EXPECT_NO_THROW(GptOptions().validate()); }

TEST(GptOptions, RefuseAWidthThatTheHeadsDoNotDivide) {
  GptOptions options;
  options.width = 130;
  EXPECT_THAT([&] { options.validate(); },
              ::testing::ThrowsMessage<InvalidOption>(
                  "width: 130 is not legal, expected a multiple of heads = 4"));
}

TEST(GptOptions, RefuseAVocabularyWithoutRoomForAllBytes) {
  GptOptions options;
  options.vocabulary = 255;
  EXPECT_THAT([&] { options.validate(); },
              ::testing::ThrowsMessage<InvalidOption>(
                  "vocabulary: 255 is not legal, expected an integer ≥ 256"));
}

TEST(GptOptions, RefuseADropoutOfEverything) {
  GptOptions options;
  options.dropout = 1;
  EXPECT_THAT([&] { options.validate(); },
              ::testing::ThrowsMessage<InvalidOption>(
                  "dropout: 1 is not legal, expected a number in [0, 1)"));
}

}  // namespace
}  // namespace leapverify::models

#include <gmock/gmock.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/policy/statistics.h>

namespace leapverify::policy {
namespace {

TEST(Statistics, MeanAndUnbiasedVariance) {
  const Sample sample = summarize({1, 2, 3, 4});
  EXPECT_EQ(sample.count, 4);
  EXPECT_DOUBLE_EQ(sample.mean, 2.5);
  EXPECT_DOUBLE_EQ(sample.variance, 5.0 / 3);
}

TEST(Statistics, VarianceSurvivesALargeOffset) {
  EXPECT_NEAR(summarize({1e9 + 1, 1e9 + 2, 1e9 + 3}).variance, 1, 1e-6);
}

TEST(Statistics, OneValueHasNoVariance) {
  EXPECT_EQ(summarize({7}).variance, 0);
  EXPECT_EQ(summarize({}).count, 0);
}

TEST(Statistics, PairsAreSubtracted) {
  const Sample sample = summarize_differences({3, 5}, {1, 1});
  EXPECT_DOUBLE_EQ(sample.mean, 3);
  EXPECT_DOUBLE_EQ(sample.variance, 2);
  EXPECT_THROW(summarize_differences({1}, {}), ContractError);
}

}  // namespace
}  // namespace leapverify::policy

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

TEST(Statistics, UpperBoundsOfChancesAreThoseOfSciPy) {
  // scipy.stats.beta.ppf(confidence, count + 1, trials - count), SciPy 1.17.1.
  EXPECT_NEAR(clopper_pearson_upper(0, 10, 0.95), 0.2588655508930522, 1e-9);
  EXPECT_NEAR(clopper_pearson_upper(3, 10, 0.95), 0.6066242161054123, 1e-9);
  EXPECT_NEAR(clopper_pearson_upper(437, 10000, 0.95), 0.04721240435641327, 1e-9);
  EXPECT_NEAR(clopper_pearson_upper(463, 10000, 0.99), 0.05142078534450892, 1e-9);
  EXPECT_NEAR(clopper_pearson_upper(5000, 10000, 0.95), 0.5082734955962607, 1e-9);
  EXPECT_NEAR(clopper_pearson_upper(99999, 100000, 0.95), 0.9999994870671877, 1e-9);
  EXPECT_EQ(clopper_pearson_upper(10, 10, 0.95), 1);
}

TEST(Statistics, UpperBoundsAreOfCountsAmongTrials) {
  EXPECT_THROW(clopper_pearson_upper(-1, 10, 0.95), ContractError);
  EXPECT_THROW(clopper_pearson_upper(11, 10, 0.95), ContractError);
  EXPECT_THROW(clopper_pearson_upper(0, 0, 0.95), ContractError);
  EXPECT_THROW(clopper_pearson_upper(1, 10, 1), ContractError);
}

}  // namespace
}  // namespace leapverify::policy

// The arithmetic of the capitals. That the bound on false accepts holds is in calibration_test.cpp.
#include <gmock/gmock.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/policy/betting.h>

#include <cmath>

namespace leapverify::policy {
namespace {

TEST(BettingTest, AGainAtMostDoublesTheCapital) {
  BettingTest test(0, 1);
  double capital = 1;
  for (int i = 0; i < 30; ++i) {
    test.add(1e9);
    EXPECT_LE(test.capital_for(), 2 * capital);
    capital = test.capital_for();
  }
  EXPECT_GT(capital, 1e4);
  EXPECT_EQ(test.capital_against(), 1) << "nothing was betted on the opposite";
  EXPECT_EQ(test.count(), 30);
}

TEST(BettingTest, NoGainRuins) {
  BettingTest test(0.5, 1);
  for (int i = 0; i < 20; ++i) test.add(1);
  test.add(-1e9);
  EXPECT_GT(test.capital_for(), 0);
}

TEST(BettingTest, MarginCountsAgainstTheCandidate) {
  BettingTest test(0.5, 1);
  for (int i = 0; i < 50; ++i) test.add(0.3);
  EXPECT_EQ(test.capital_for(), 1);
  EXPECT_GT(test.capital_against(), 20);
}

TEST(BettingTest, FirstBetIsMadeBlindly) {
  BettingTest test(0, 1);
  test.add(1);
  EXPECT_EQ(test.capital_for(), 1);
  EXPECT_EQ(test.capital_against(), 1);
}

TEST(BettingTest, RefusesWhatHasNoMeaning) {
  EXPECT_THROW(BettingTest(-0.1, 1), ContractError);
  EXPECT_THROW(BettingTest(1, 1), ContractError);
  EXPECT_THROW(BettingTest(0, 0), ContractError);
  BettingTest test(0, 1);
  EXPECT_THROW(test.add(std::nan("")), ContractError);
}

}  // namespace
}  // namespace leapverify::policy

// The factor on the learning rate: up when a candidate verifies, down when a look back does.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/rate_scale.h>

namespace leapverify::policy {
namespace {

RateOptions options() {
  RateOptions options;
  options.growth = 2;
  options.largest = 5;
  options.smallest = 0.5;
  options.look_back = 3;
  options.max_hold = 3;
  return options;
}

TEST(RateScale, RisesByGrowthUpToTheLargest) {
  RateScale rate(options());
  EXPECT_EQ(rate.value(), 1);
  EXPECT_TRUE(rate.raise(1));
  EXPECT_EQ(rate.value(), 2);
  EXPECT_TRUE(rate.raise(2));
  EXPECT_TRUE(rate.raise(3));
  EXPECT_EQ(rate.value(), 5);
  EXPECT_FALSE(rate.raise(4));
  EXPECT_EQ(rate.value(), 5);
}

TEST(RateScale, FallsByGrowthDownToTheSmallest) {
  RateScale rate(options());
  EXPECT_TRUE(rate.raise(1));
  EXPECT_TRUE(rate.lower(2));
  EXPECT_EQ(rate.value(), 1);
  EXPECT_TRUE(rate.lower(3));
  EXPECT_EQ(rate.value(), 0.5);
  EXPECT_FALSE(rate.lower(4));
  EXPECT_EQ(rate.value(), 0.5);
}

TEST(RateScale, WhatVerifiedIsARateSoThatAClimbingScheduleUsesItUp) {
  RateScale rate(options());
  rate.follow({1});
  rate.raise(1);
  rate.raise(2);
  EXPECT_EQ(rate.value(), 4);
  rate.follow({2});
  EXPECT_EQ(rate.value(), 2);
  rate.follow({8});
  EXPECT_EQ(rate.value(), 1) << "the schedule has overtaken it";
  rate.lower(3);
  rate.follow({16});
  EXPECT_EQ(rate.value(), 0.5) << "a lowered scale stays";
}

TEST(RateScale, ARestartedScheduleGetsNoRateThatWasNeverInForce) {
  RateScale rate(options());
  rate.follow({1});
  rate.raise(1);
  rate.follow({0.25});
  rate.raise(2);
  EXPECT_EQ(rate.value(), 4);
  rate.follow({0.5});
  EXPECT_EQ(rate.value(), 4) << "as fast as at the first rise";
  rate.follow({1});
  EXPECT_EQ(rate.value(), 2);
  rate.follow({0.125});
  EXPECT_EQ(rate.value(), 2) << "falling takes nothing off";
}

TEST(RateScale, AStepDownIsNotUndoneByAClimb) {
  RateScale rate(options());
  rate.follow({1});
  rate.raise(1);
  rate.raise(2);
  rate.lower(3);
  rate.follow({1.25});
  EXPECT_EQ(rate.value(), 2 / 1.25);
}

TEST(RateScale, NoParamGroupClimbsAboveWhatItHad) {
  RateScale rate(options());
  rate.follow({1, 100});
  rate.raise(1);
  rate.raise(2);
  rate.follow({2, 100});
  EXPECT_EQ(rate.value(), 2) << "of the first group, and taken off both";
  rate.follow({2, 100, 7});
  rate.follow({2, 100, 14});
  EXPECT_EQ(rate.value(), 1) << "a group added later counts from when it came";
}

TEST(RateScale, OnlyCandidatesFarAheadRaiseItWhileTheScheduleClimbs) {
  RateScale rate(options());
  rate.follow({1});
  rate.observe();
  EXPECT_FALSE(rate.climbs());
  rate.follow({1.5});
  EXPECT_FALSE(rate.climbs()) << "told at observations";
  rate.observe();
  EXPECT_TRUE(rate.climbs());
  EXPECT_FALSE(rate.raise(1));
  EXPECT_EQ(rate.value(), 1);
  EXPECT_TRUE(rate.raise(1, /*far=*/true));
  EXPECT_EQ(rate.value(), 4) << "growth, squared";
  rate.follow({1.5});
  rate.observe();
  EXPECT_FALSE(rate.climbs());
  EXPECT_TRUE(rate.raise(2));
}

TEST(RateScale, LooksBackOnlyWhereItCanFallAndHasStoodLongEnough) {
  RateOptions at_least_one = options();
  at_least_one.smallest = 1;
  RateScale rate(at_least_one);
  EXPECT_FALSE(rate.looks_back(100)) << "cannot fall";
  rate.raise(10);
  EXPECT_FALSE(rate.looks_back(12));
  EXPECT_TRUE(rate.looks_back(13));
  rate.raise(13);
  EXPECT_FALSE(rate.looks_back(15));
  rate.lower(20);
  EXPECT_FALSE(rate.looks_back(22));
  EXPECT_TRUE(rate.looks_back(23));
}

/// Verified candidates it takes until the scale rises again.
int raises_needed(RateScale& rate) {
  int needed = 1;
  while (!rate.raise(1)) ++needed;
  return needed;
}

TEST(RateScale, HoldsBackLongerAfterEachStepDown) {
  RateScale rate(options());
  rate.raise(1);
  rate.raise(1);
  std::vector<int> needed;
  for (int i = 0; i < 4; ++i) {
    rate.lower(1);
    needed.push_back(raises_needed(rate));
  }
  EXPECT_THAT(needed, testing::ElementsAre(2, 3, 4, 4)) << "1, 2, then max_hold 3 held back";
}

TEST(RateScale, GoesOnFromItsState) {
  RateScale first(options());
  first.follow({1});
  first.raise(1);
  first.raise(1);
  first.lower(4);
  RateScale second(options());
  second.restore(first.state());
  EXPECT_EQ(second.value(), first.value());
  for (int i = 5; i < 12; ++i) {
    EXPECT_EQ(second.looks_back(i), first.looks_back(i)) << i;
    EXPECT_EQ(second.raise(i), first.raise(i)) << i;
  }
  second.follow({1.25});
  first.follow({1.25});
  EXPECT_EQ(second.value(), first.value());
  second.lower(20);
  first.lower(20);
  EXPECT_EQ(raises_needed(second), raises_needed(first));
}

TEST(RateScale, ScaleOfARunWithOtherOptionsGoesToTheNearerEnd) {
  RateScale rate(options());
  rate.restore({40, {}, {}, {}, false, 1, 0, 1});
  EXPECT_EQ(rate.value(), 5);
  rate.restore({0.1, {}, {}, {}, false, 1, 0, 1});
  EXPECT_EQ(rate.value(), 0.5);
}

TEST(RateScale, RefusesIllegalOptions) {
  for (const auto& [field, change] :
       std::vector<std::pair<std::string, std::function<void(RateOptions&)>>>{
           {"growth", [](RateOptions& o) { o.growth = 1; }},
           {"largest", [](RateOptions& o) { o.largest = 0.5; }},
           {"smallest", [](RateOptions& o) { o.smallest = 0; }},
           {"look_back", [](RateOptions& o) { o.look_back = 0; }},
           {"max_hold", [](RateOptions& o) { o.max_hold = -1; }}}) {
    RateOptions illegal;
    change(illegal);
    try {
      RateScale rate(illegal);
      FAIL() << "accepted " << field;
    } catch (const InvalidOption& error) {
      EXPECT_EQ(error.field(), field);
    }
  }
}

}  // namespace
}  // namespace leapverify::policy

// The factor on the learning rate: up when a candidate verifies, down when a look back does.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/rate_scale.h>

#include <algorithm>
#include <cmath>
#include <limits>

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
  RateScale::State state;
  state.scale = 40;
  rate.restore(state);
  EXPECT_EQ(rate.value(), 5);
  state.scale = 0.1;
  rate.restore(state);
  EXPECT_EQ(rate.value(), 0.5);
}

RateOptions from_an_eighth() {
  RateOptions from_below = options();
  from_below.start = 0.125;
  return from_below;
}

TEST(RateScale, MayBeginBelowTheScheduleAndRisesFromThere) {
  RateScale rate(from_an_eighth());
  EXPECT_EQ(rate.value(), 0.125);
  EXPECT_FALSE(rate.lower(1)) << "it is the smallest too";
  rate.follow({1});
  rate.raise(2);
  rate.raise(3);
  EXPECT_EQ(rate.value(), 0.5);
  rate.follow({2});
  EXPECT_EQ(rate.value(), 0.25) << "what verified is a rate";
  rate.follow({8});
  EXPECT_EQ(rate.value(), 0.125) << "the schedule has overtaken it";
  rate.raise(4);
  EXPECT_TRUE(rate.lower(5));
  EXPECT_EQ(rate.value(), 0.125);
}

TEST(RateScale, BelievesTheScheduleWhereThreeTriesTellNothing) {
  RateScale rate(from_an_eighth());
  EXPECT_FALSE(rate.miss(false));
  EXPECT_FALSE(rate.miss(false));
  EXPECT_EQ(rate.value(), 0.125);
  EXPECT_TRUE(rate.miss(false));
  EXPECT_EQ(rate.value(), 1);
  EXPECT_FALSE(rate.give_up());
  rate.follow({1});
  EXPECT_TRUE(rate.raise(5));
  EXPECT_EQ(rate.value(), 2);
  rate.follow({4});
  EXPECT_EQ(rate.value(), 1) << "as if it had begun there";
}

TEST(RateScale, ARiseThatTheScheduleHasUsedUpTellsNothing) {
  RateScale rate(from_an_eighth());
  rate.follow({1});
  rate.raise(1);
  rate.follow({8});
  ASSERT_EQ(rate.value(), 0.125);
  EXPECT_TRUE(rate.give_up());
  EXPECT_EQ(rate.smallest(), 0.5) << "as if it had begun there";
}

TEST(RateScale, ACandidateThatMayNotRaiseItTellsSomethingToo) {
  RateScale rate(from_an_eighth());
  rate.follow({1});
  rate.observe();
  rate.follow({2});
  rate.observe();
  rate.miss(false);
  rate.miss(false);
  EXPECT_FALSE(rate.raise(3)) << "near, while the schedule climbs";
  EXPECT_FALSE(rate.miss(false));
  EXPECT_FALSE(rate.miss(false));
  EXPECT_TRUE(rate.miss(false));
}

TEST(RateScale, ResumedWithAnotherStartItGoesOnFromThere) {
  RateScale low(from_an_eighth());
  low.follow({1});
  RateScale usual(options());
  usual.restore(low.state());
  EXPECT_EQ(usual.value(), 0.5);
  usual.raise(1);
  usual.raise(2);
  usual.follow({16});
  EXPECT_EQ(usual.value(), 1);
  RateScale given_up(from_an_eighth());
  given_up.give_up();
  RateScale again(from_an_eighth());
  again.restore(given_up.state());
  EXPECT_EQ(again.smallest(), 0.5);
}

TEST(RateScale, StaysBelowTheScheduleWhereMoreWasShownToBeNoGain) {
  RateScale rate(from_an_eighth());
  EXPECT_FALSE(rate.miss(true));
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(rate.miss(false));
  EXPECT_FALSE(rate.give_up());
  EXPECT_EQ(rate.value(), 0.125);
  EXPECT_TRUE(rate.raise(9));
}

TEST(RateScale, BelievesTheScheduleWhereNoMoreIsTriedButNotOnceSomethingVerified) {
  RateScale untried(from_an_eighth());
  EXPECT_TRUE(untried.give_up());
  EXPECT_EQ(untried.value(), 1);
  RateScale risen(from_an_eighth());
  risen.raise(1);
  EXPECT_FALSE(risen.give_up());
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(risen.miss(false));
  EXPECT_EQ(risen.value(), 0.25);
  RateScale usual(options());
  EXPECT_FALSE(usual.give_up());
}

RateOptions annealing() {
  RateOptions ending = options();
  ending.anneal = 0.2;
  return ending;
}

TEST(RateScale, ARaisedRateFallsAtTheEndWhereTheScheduleDoesNot) {
  RateScale rate(annealing());
  rate.follow({1}, 1);
  rate.raise(1);
  rate.follow({1}, 0.2);
  EXPECT_EQ(rate.value(), 2);
  EXPECT_FALSE(rate.anneals());
  rate.follow({1}, 0.1);
  EXPECT_DOUBLE_EQ(rate.value(), 1);
  EXPECT_TRUE(rate.anneals());
  rate.follow({1}, 0.05);
  EXPECT_DOUBLE_EQ(rate.value(), 0.5);
  rate.raise(2);
  EXPECT_DOUBLE_EQ(rate.value(), 1) << "the scale may still rise";
  RateScale second(annealing());
  second.restore(rate.state());
  EXPECT_EQ(second.value(), rate.value());
  rate.follow({1}, 0);
  EXPECT_EQ(rate.value(), 4) << "a run longer than planned goes on as it was";
}

TEST(RateScale, WhatTheScheduleTakesOffAtTheEndIsNotTakenOffTwice) {
  RateScale rate(annealing());
  rate.follow({1, 10}, 1);
  rate.raise(1);
  for (const double left : {0.15, 0.1, 0.05}) {
    rate.follow({left / 0.2, 10 * left / 0.2}, left);
    EXPECT_DOUBLE_EQ(rate.value(), 2) << left;
    rate.follow({0.01, 0.1}, left);
    EXPECT_EQ(rate.value(), 2) << left;
  }
  rate.follow({0.01, 10}, 0.1);
  EXPECT_DOUBLE_EQ(rate.value(), 1) << "one factor for all groups";
  rate.follow({0, 0}, 0.1);
  EXPECT_EQ(rate.value(), 2);
}

TEST(RateScale, ARateThatNeverRoseEndsAsItsScheduleDoes) {
  RateScale rate(annealing());
  rate.follow({1}, 1);
  rate.lower(1);
  rate.follow({1}, 0.01);
  EXPECT_EQ(rate.value(), 0.5);
}

RateOptions striding() {
  RateOptions options;
  options.growth = 3;
  options.stride = 0.1;
  return options;
}

constexpr double kDecay = 0.5;

TEST(RateScale, WithinTheStrideNothingIsHeld) {
  RateScale rate(striding());
  EXPECT_EQ(rate.room(), std::numeric_limits<double>::infinity()) << "nothing was told";
  rate.limit(0.05, 100, kDecay);
  EXPECT_EQ(rate.value(), 1);
  EXPECT_DOUBLE_EQ(rate.room(), 2);
  EXPECT_TRUE(rate.raise(1));
  EXPECT_DOUBLE_EQ(rate.value(), 2) << "no further than the stride, though growth is 3";
}

TEST(RateScale, BeyondTheStrideItIsHeldAndComesBackByItself) {
  RateScale rate(striding());
  rate.raise(1);
  rate.limit(0.4, 100, kDecay);
  EXPECT_DOUBLE_EQ(rate.value(), 3.0 / 4);
  EXPECT_EQ(rate.state().scale, 3) << "what has verified stays";
  EXPECT_LT(rate.room(), 1);
  EXPECT_FALSE(rate.raise(2)) << "while it is held";
  rate.limit(0.05, 200, kDecay);
  EXPECT_DOUBLE_EQ(rate.value(), 3.0 / 2);
  rate.limit(0.01, 300, kDecay);
  EXPECT_EQ(rate.value(), 3);
}

TEST(RateScale, HoldsBySpeedWhereTheDistanceLagsBehindIt) {
  // At a constant speed the distance ends at 0.2; a step leaves half of the way there.
  RateScale rate(striding());
  rate.limit(0.1, 1, kDecay);
  EXPECT_DOUBLE_EQ(rate.value(), 0.5) << "already told by the first step";
  // At half the speed from now on the distance ends at 0.1, and is there.
  rate.limit(0.1, 2, kDecay);
  EXPECT_DOUBLE_EQ(rate.value(), 0.5);
  rate.limit(0.0, 3, kDecay);
  EXPECT_EQ(rate.value(), 1) << "the way back is no way";
}

TEST(RateScale, MovesThatUndoEachOtherLetGoByGrowthOnly) {
  RateScale rate(striding());
  rate.limit(0.8, 100, kDecay);
  EXPECT_DOUBLE_EQ(rate.value(), 1.0 / 8);
  rate.limit(0.0, 101, kDecay);
  EXPECT_DOUBLE_EQ(rate.value(), 3.0 / 8);
}

TEST(RateScale, TheStrideFallsWithTheRateAtTheEnd) {
  RateOptions options = striding();
  options.anneal = 0.5;
  RateScale rate(options);
  rate.follow({1}, 1);
  rate.raise(1);
  rate.limit(0.2, 100, kDecay);
  rate.follow({1}, 0.25);
  EXPECT_DOUBLE_EQ(rate.value(), 3.0 / 2 / 2);
  rate.limit(0.1, 200, kDecay);
  EXPECT_DOUBLE_EQ(rate.value(), 3.0 / 4 / 2) << "half of the stride is left";
}

TEST(RateScale, GivesUpABeginningBelowTheScheduleInSteps) {
  RateOptions options = striding();
  options.start = 1.0 / 16;
  RateScale rate(options);
  rate.limit(0.01, 100, kDecay);
  EXPECT_TRUE(rate.give_up());
  EXPECT_DOUBLE_EQ(rate.value(), 1.0 / 16);
  rate.limit(0.01, 200, kDecay);
  EXPECT_DOUBLE_EQ(rate.value(), 3.0 / 16);
}

TEST(RateScale, AStrideThatIsTakenOffHoldsNothing) {
  RateScale held(striding());
  held.limit(0.4, 1, kDecay);
  RateScale same(striding());
  same.restore(held.state());
  EXPECT_EQ(same.value(), held.value());
  EXPECT_EQ(same.room(), held.room());
  RateScale free{RateOptions()};
  free.restore(held.state());
  EXPECT_EQ(free.value(), 1);
  EXPECT_EQ(free.room(), std::numeric_limits<double>::infinity());
}

RateOptions free_rate() {
  RateOptions options = striding();
  options.free = true;
  return options;
}

/// Tells the distance at which a run of that speed ends.
void go(RateScale& rate, double reach, std::int64_t step) {
  const double last = rate.state().distance;
  rate.limit(last + (1 - kDecay) * (reach - last), step, kDecay);
}

TEST(RateScale, AFreeRateRisesEightfoldUntilItsStride) {
  RateScale rate(free_rate());
  rate.follow({1});
  EXPECT_EQ(rate.value(), 1.0 / 4096);
  EXPECT_TRUE(rate.climbs_to_stride());
  go(rate, 0.001, 1);
  EXPECT_DOUBLE_EQ(rate.value(), 8.0 / 4096);
  go(rate, 0.08, 2);
  EXPECT_DOUBLE_EQ(rate.value(), 10.0 / 4096) << "up to the stride";
  EXPECT_TRUE(rate.climbs_to_stride()) << "which was not seen to be reached";
  go(rate, 0.2, 3);
  EXPECT_DOUBLE_EQ(rate.value(), 5.0 / 4096);
  EXPECT_FALSE(rate.climbs_to_stride());
  go(rate, 0.02, 4);
  EXPECT_DOUBLE_EQ(rate.value(), 15.0 / 4096) << "by growth from now on";
}

TEST(RateScale, AFreeRateThatSlowsDownIsHalvedAndRisesNoHigher) {
  RateScale rate(free_rate());
  rate.follow({1});
  for (int step = 1; step <= 6; ++step) go(rate, 0.15, step);
  const double before = rate.value();
  EXPECT_EQ(rate.slow_down(), 0.5);
  rate.go_back(6);
  EXPECT_DOUBLE_EQ(rate.value(), before / 2);
  EXPECT_EQ(rate.state().distance, 0) << "the average begins where the weights are";
  go(rate, 0.001, 16);
  EXPECT_DOUBLE_EQ(rate.value(), before / 2);
  go(rate, 0.4, 26);
  EXPECT_LT(rate.value(), before / 2) << "it may fall";
  for (int step = 36; step <= 96; step += 10) go(rate, 0.001, step);
  EXPECT_DOUBLE_EQ(rate.value(), before / 2);
}

/// A free rate that has come to its stride after two steps down slopes of −1 and −4.
RateScale at_its_stride() {
  RateScale rate(free_rate());
  rate.follow({1}, 1);
  EXPECT_FALSE(rate.feel(-1, 1));
  EXPECT_FALSE(rate.feel(-4, 2));
  go(rate, 0.2, 2);
  EXPECT_FALSE(rate.climbs_to_stride());
  return rate;
}

/// Whether the fifth of such slopes lets the run begin anew; none before does.
bool begins_anew(RateScale& rate, double slope, std::int64_t step = 3) {
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(rate.feel(slope, step + i));
  return rate.feel(slope, step + 4);
}

TEST(RateScale, AFreeRateThatGoesEightTimesAsFarUphillAsItCameDownBeginsAnew) {
  RateScale fits = at_its_stride();
  const double held = fits.state().held;
  EXPECT_TRUE(fits.feels_slope());
  EXPECT_FALSE(begins_anew(fits, 31.9));
  EXPECT_FALSE(fits.feels_slope()) << "from now on";
  EXPECT_EQ(fits.state().held, held);
  RateScale too_far = at_its_stride();
  too_far.walk(2, 1);
  EXPECT_TRUE(begins_anew(too_far, 32.1));
  EXPECT_TRUE(too_far.feels_slope());
  EXPECT_TRUE(too_far.climbs_to_stride());
  EXPECT_DOUBLE_EQ(too_far.state().held, held / 64);
  EXPECT_EQ(too_far.state().waypoints, 0);
  go(too_far, 0.001, 8);
  go(too_far, 0.001, 9);
  EXPECT_DOUBLE_EQ(too_far.state().held, held);
  go(too_far, 0.1, 10);
  EXPECT_DOUBLE_EQ(too_far.state().held, held / 2) << "half of the stride of 0.1";
}

TEST(RateScale, AFreeRateThatNeverCameDownGoesTooFar) {
  RateScale rate(free_rate());
  rate.follow({1}, 1);
  go(rate, 0.2, 1);
  EXPECT_TRUE(begins_anew(rate, 1e-9));
}

TEST(RateScale, AFreeRateBeginsAnewEightTimesAtTheMostAndInTheFirstQuarter) {
  RateScale rate = at_its_stride();
  std::int64_t step = 3;
  for (int time = 1; time <= 8; ++time, step += 10) {
    EXPECT_TRUE(begins_anew(rate, 40, step)) << time;
    go(rate, 0.2, step + 5);
  }
  EXPECT_FALSE(begins_anew(rate, 40, step));
  EXPECT_FALSE(rate.feels_slope());
  for (const double left : {0.75, 0.74}) {
    RateScale later = at_its_stride();
    later.follow({1}, left);
    EXPECT_EQ(later.feels_slope(), left == 0.75) << left;
  }
}

TEST(RateScale, SlopesThatAreNoNumbersTellNothing) {
  RateScale rate = at_its_stride();
  EXPECT_FALSE(rate.feel(20, 3));
  EXPECT_FALSE(rate.feel(std::numeric_limits<double>::infinity(), 4));
  EXPECT_FALSE(rate.feels_slope());
  RateScale climbing(free_rate());
  climbing.follow({1}, 1);
  EXPECT_FALSE(climbing.feel(-std::numeric_limits<double>::infinity(), 1));
  EXPECT_TRUE(climbing.feels_slope());
  EXPECT_EQ(climbing.state().lowest_slope, 0);
}

TEST(RateScale, ASlopeFromAnotherStartIsForgotten) {
  RateScale rate = at_its_stride();
  EXPECT_FALSE(rate.feel(20, 3));
  rate.forget_path();
  EXPECT_EQ(rate.state().lowest_slope, 0);
  EXPECT_TRUE(begins_anew(rate, 1)) << "five more";
}

TEST(RateScale, AFreeRateGoesBeyondTheSchedules) {
  RateScale rate(free_rate());
  rate.follow({1});
  for (int step = 1; step <= 40; ++step) go(rate, 1e-6, step);
  EXPECT_GT(rate.value(), 1e6) << "nor is `largest` a bound";
}

TEST(RateScale, AFreeRateIsWhatItIsWhateverTheSchedule) {
  RateScale rate(free_rate());
  rate.follow({0, 0});
  rate.follow({0.25, 0.5});
  const auto largest = [&](const std::vector<double>& scheduled, double left = 1) {
    rate.follow(scheduled, left);
    return rate.value() * *std::max_element(scheduled.begin(), scheduled.end());
  };
  const double at_first = largest({0.25, 0.5});
  EXPECT_EQ(at_first, 0.5 / 4096) << "of the first rates that move anything";
  EXPECT_DOUBLE_EQ(largest({1, 2}), at_first) << "a warm-up";
  EXPECT_DOUBLE_EQ(largest({1e-9, 2e-9}), at_first) << "a fall";
  go(rate, 0.2, 1);
  EXPECT_DOUBLE_EQ(largest({1, 2}), at_first / 2) << "a restart; the stride was reached";
  rate.follow({0, 0});
  EXPECT_TRUE(std::isfinite(rate.value()));
  EXPECT_DOUBLE_EQ(largest({1, 2}, 0.01), at_first / 2);
  EXPECT_DOUBLE_EQ(largest({2, 1}), at_first / 2) << "ratios between groups are the schedule's";
}

TEST(RateScale, WhileTheScheduleStandsStillAFreeRateLearnsNothing) {
  for (const int steps_before : {0, 1, 50}) {
    RateScale rate(free_rate());
    std::int64_t step = 0;
    const auto take = [&](double scheduled, double reach) {
      rate.follow({scheduled});
      go(rate, reach, ++step);
    };
    for (int i = 0; i < steps_before; ++i) take(1, 0.1);
    const double held = rate.state().held;
    const double weight = rate.iterate_weight(7);
    for (int i = 0; i < 100; ++i) take(0, 1e-7);
    EXPECT_EQ(rate.iterate_weight(7), 0) << "an iterate that is the one before";
    EXPECT_EQ(rate.state().held, held);
    rate.follow({1});
    EXPECT_EQ(rate.iterate_weight(7), steps_before > 0 ? weight : rate.iterate_weight(1) * 7);
  }
}

TEST(RateScale, LaterIteratesOfAFreeRateWeighMore) {
  RateScale rate(free_rate());
  rate.follow({2});
  const double first = rate.iterate_weight(1);
  EXPECT_DOUBLE_EQ(rate.iterate_weight(3), 3 * first);
  rate.follow({1});
  EXPECT_EQ(rate.iterate_weight(1), first) << "whatever the schedule";
  go(rate, 0.2, 1);
  EXPECT_DOUBLE_EQ(rate.iterate_weight(1), first / 4) << "the square of the rate";
}

TEST(RateScale, WeightsThatStayTellAFreeRateNothing) {
  RateScale rate(free_rate());
  rate.follow({1});
  rate.limit(0, 1, kDecay);
  EXPECT_EQ(rate.value(), 8.0 / 4096) << "the rate may be too small to move them";
  RateScale stays(free_rate());
  stays.follow({1});
  for (int step = 1; step <= 40; ++step) stays.limit(0, step, kDecay);
  EXPECT_EQ(stays.value(), 1) << "but not the schedule's own";
  go(rate, 0.2, 2);
  const double found = rate.value();
  rate.limit(0, 3, kDecay);
  EXPECT_EQ(rate.value(), found);
}

TEST(RateScale, AFreeRateGoesByHowStraightItsWayIs) {
  const double growth = free_rate().growth;
  // Two waypoints, the second so much further from the start than a random walk would be.
  const auto factor = [](double straightness, double left, double reach = 0.001) {
    RateScale rate(free_rate());
    rate.follow({1}, left);
    go(rate, 0.2, 1);
    rate.walk(1, 1);
    rate.walk(2 * straightness, 1);
    EXPECT_DOUBLE_EQ(rate.state().straightness, straightness);
    const double found = rate.value();
    go(rate, reach, 2);
    return rate.value() / found;
  };
  for (const double left : {1.0, 0.7, 0.41}) {
    EXPECT_DOUBLE_EQ(factor(1.1, left), growth) << left;
    EXPECT_DOUBLE_EQ(factor(1.1, left, 0.08), 1.25) << "to the stride";
    EXPECT_DOUBLE_EQ(factor(1.09, left), 1) << left;
    EXPECT_DOUBLE_EQ(factor(0.01, left, 0.1), 1) << left;
    EXPECT_DOUBLE_EQ(factor(0.01, left, 0.2), 0.5) << left;
  }
  for (const double left : {0.4, 0.1, 0.0}) {
    EXPECT_DOUBLE_EQ(factor(1.1, left), 1) << left;
    EXPECT_DOUBLE_EQ(factor(0.01, left, 0.1), 1) << left;
  }
}

TEST(RateScale, AFreeRateSaysWhatDecidedOnIt) {
  RateScale rate(free_rate());
  rate.follow({1}, 0.95);
  std::int64_t step = 0;
  const auto reason = [&](double reach) {
    const double last = rate.state().distance;
    return std::string(rate.limit(last + (1 - kDecay) * (reach - last), ++step, kDecay));
  };
  const std::string stride = "the weights go as far as rate.stride";
  EXPECT_EQ(reason(0.001), "the weights do not go as far as rate.stride yet");
  EXPECT_EQ(reason(0.09), stride);
  EXPECT_EQ(reason(0.2), stride);
  EXPECT_EQ(reason(0.001), "the way from the start is not known yet");
  rate.walk(1, 1);
  rate.walk(3, 1);
  EXPECT_EQ(reason(0.001), "the way from the start is straight");
  EXPECT_EQ(reason(0.2), stride);
}

TEST(RateScale, AWayThatBeganAnewInTheMidstOfARunRaisesNothing) {
  RateScale rate(free_rate());
  rate.follow({1}, 0.6);
  go(rate, 0.2, 1);
  const double found = rate.value();
  go(rate, 0.001, 2);
  EXPECT_EQ(rate.value(), found);
}

TEST(RateScale, TheStrideHoldsAFreeRateHoweverStraightItsWay) {
  for (const double left : {1.0, 0.5, 0.1}) {
    RateScale rate(free_rate());
    rate.follow({1}, left);
    go(rate, 0.2, 1);
    rate.walk(1, 1);
    rate.walk(4, 1);
    const double found = rate.value();
    go(rate, 0.2, 2);
    EXPECT_DOUBLE_EQ(rate.value(), found / 2) << left;
  }
}

TEST(RateScale, OneMoveAndNoMoveSayNothingOfAFreeRatesWay) {
  RateScale rate(free_rate());
  rate.follow({1});
  go(rate, 0.2, 1);
  rate.walk(1, 1);
  const double found = rate.value();
  go(rate, 0.001, 2);
  EXPECT_DOUBLE_EQ(rate.value(), free_rate().growth * found);
  rate.walk(1, 0);
  EXPECT_EQ(rate.state().waypoints, 1);
  EXPECT_EQ(rate.state().straightness, 1);
}

TEST(RateScale, AFreeRateForgetsItsWayWhereThatBeginsAnew) {
  RateScale rate(free_rate());
  rate.follow({1}, 0.95);
  go(rate, 0.2, 1);
  rate.walk(1, 1);
  rate.walk(0.1, 1);
  rate.forget_path();
  const double found = rate.value();
  go(rate, 0.001, 2);
  EXPECT_DOUBLE_EQ(rate.value(), free_rate().growth * found);
  rate.walk(1, 1);
  rate.walk(2.5, 1);
  EXPECT_DOUBLE_EQ(rate.state().straightness, 1.25);
}

TEST(RateScale, AFreeRateThatWasNotFoundClimbsOnWhateverItsWay) {
  RateScale late(free_rate());
  late.follow({1}, 0.2);
  late.walk(1, 1);
  late.walk(1, 1);
  go(late, 0.001, 1);
  EXPECT_DOUBLE_EQ(late.value(), 8.0 / 4096);
}

TEST(RateScale, ARunHasFortyWaypointsOrOneAStep) {
  EXPECT_EQ(RateOptions::free_waypoint_every(4000), 100);
  EXPECT_EQ(RateOptions::free_waypoint_every(100), 2);
  EXPECT_EQ(RateOptions::free_waypoint_every(39), 1);
}

TEST(RateScale, AFreeRateStaysFinite) {
  RateScale rate(free_rate());
  rate.follow({1});
  for (int step = 1; step <= 2000; ++step) go(rate, 1e-30, step);
  EXPECT_EQ(rate.value(), 1e12);
  for (int step = 2001; step <= 2100; ++step) go(rate, 1e30, step);
  EXPECT_EQ(rate.value(), 1e-12);
}

TEST(RateScale, WhatHadVerifiedIsInAFreeRateThatComesAfterIt) {
  RateOptions options;
  RateScale before(options);
  before.follow({1});
  EXPECT_TRUE(before.raise(1));
  RateScale rate(free_rate());
  rate.restore(before.state());
  EXPECT_EQ(rate.value(), before.value());
  rate.follow({3});
  EXPECT_DOUBLE_EQ(rate.value(), before.value() / 3) << "once";
}

TEST(RateScale, AFreeRateIsRestoredAndOneThatIsFreeNoMoreIsTheSchedulesAtMost) {
  RateScale rate(free_rate());
  rate.follow({1});
  for (int step = 1; step <= 40; ++step) go(rate, 1e-6, step);
  RateScale same(free_rate());
  same.restore(rate.state());
  EXPECT_EQ(same.value(), rate.value());
  RateScale bound(striding());
  bound.restore(rate.state());
  EXPECT_EQ(bound.value(), 1);
  RateScale of_unknown_length([] {
    RateOptions options = free_rate();
    options.stride = 0;
    return options;
  }());
  of_unknown_length.restore(rate.state());
  EXPECT_EQ(of_unknown_length.value(), rate.value());
}

TEST(RateScale, NothingIsLeftOfAFreeRateWhereNoneIsHeld) {
  RateScale rate(free_rate());
  rate.follow({0.01});
  go(rate, 0.2, 1);
  rate.follow({1});
  RateScale plain{RateOptions()};
  plain.restore(rate.state());
  plain.follow({1});
  EXPECT_EQ(plain.value(), 1);
}

TEST(RateScale, TheStrideOfAFreeRateFitsTheLengthOfTheRun) {
  EXPECT_DOUBLE_EQ(RateOptions::free_stride(1, false), 1);
  EXPECT_DOUBLE_EQ(RateOptions::free_stride(10'000, false), 0.1);
  EXPECT_DOUBLE_EQ(RateOptions::free_stride(10'000, true), 0.2);
}

TEST(RateScale, RefusesIllegalOptions) {
  for (const auto& [field, change] :
       std::vector<std::pair<std::string, std::function<void(RateOptions&)>>>{
           {"start", [](RateOptions& o) { o.start = 1.5; }},
           {"anneal", [](RateOptions& o) { o.anneal = 1; }},
           {"growth", [](RateOptions& o) { o.growth = 1; }},
           {"largest", [](RateOptions& o) { o.largest = 0.5; }},
           {"smallest", [](RateOptions& o) { o.smallest = 0; }},
           {"look_back", [](RateOptions& o) { o.look_back = 0; }},
           {"stride", [](RateOptions& o) { o.stride = -0.1; }},
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

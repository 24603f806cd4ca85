// Steps saved: the lower bound of the gain over the fall of the loss per step.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/value.h>

#include <cmath>

namespace leapverify::policy {
namespace {

TEST(LossCurve, FallIsTheSlopeOfALine) {
  LossCurve curve;
  for (int i = 0; i < 4; ++i) curve.add(10 * i, 5 - 0.2 * i);
  EXPECT_NEAR(curve.fall_per_step(), 0.02, 1e-12);
}

TEST(LossCurve, OnlyTheLastPointsCount) {
  LossCurve curve;
  curve.add(0, 100);
  curve.add(10, 100);
  for (int i = 2; i < 6; ++i) curve.add(10 * i, 100 - 2.0 * i);
  EXPECT_NEAR(curve.fall_per_step(), 0.2, 1e-9);
}

TEST(LossCurve, RisingLossIsFlooredAtATenthOfTheMeanFall) {
  LossCurve curve;
  curve.add(0, 10);
  curve.interrupt();
  curve.add(100, 5);
  curve.add(200, 6);
  EXPECT_NEAR(curve.fall_per_step(), 0.1 * (10 - 6) / 200.0, 1e-12);
}

TEST(LossCurve, NeverFallsBelowTheFloor) {
  LossCurve curve;
  curve.add(0, 1);
  curve.add(10, 2);
  EXPECT_EQ(curve.fall_per_step(), LossCurve::kFloor);
}

TEST(LossCurve, UnknownWithFewerThanTwoPoints) {
  LossCurve curve;
  EXPECT_EQ(curve.fall_per_step(), 0);
  curve.add(0, 5);
  EXPECT_EQ(curve.fall_per_step(), 0);
  curve.interrupt();
  EXPECT_EQ(curve.fall_per_step(), 0);
}

TEST(LossCurve, FirstPointOfAStretchIsHeldAgainstTheFirstOfTheRun) {
  LossCurve curve;
  curve.add(0, 5);
  curve.add(10, 4.5);
  curve.interrupt();
  curve.add(20, 3);
  EXPECT_DOUBLE_EQ(curve.fall_per_step(), 0.1);
  curve.interrupt();
  curve.add(30, 6);
  EXPECT_EQ(curve.fall_per_step(), LossCurve::kFloor);
}

TEST(LossCurve, LossThatIsNotFiniteIsLeftOut) {
  LossCurve curve;
  curve.add(0, 5);
  curve.add(5, std::nan(""));
  curve.add(10, 4);
  EXPECT_NEAR(curve.fall_per_step(), 0.1, 1e-12);
}

TEST(LossCurve, RestoredCurveGoesOnAlike) {
  LossCurve curve;
  curve.add(0, 5);
  curve.add(10, 4);
  LossCurve copy;
  copy.restore(curve.state());
  curve.add(20, 3.5);
  copy.add(20, 3.5);
  EXPECT_EQ(curve.fall_per_step(), copy.fall_per_step());
}

TEST(Value, EqualGainsAreWorthGainOverFall) {
  const Value value = value_of_leap({5, 6, 7}, {4.5, 5.5, 6.5}, 0.1, 1000);
  EXPECT_NEAR(value.gain, 0.5, 1e-12);
  EXPECT_NEAR(value.steps_saved, 5, 1e-9);
}

TEST(Value, SpreadOfTheGainsIsPaidFor) {
  // Gains 0 and 1: mean 0.5, standard error 0.5, lower bound 0.5 − 1.645 · 0.5 < 0.
  const Value value = value_of_leap({5, 6}, {5, 5}, 0.1, 1000);
  EXPECT_NEAR(value.gain_lower_bound, 0.5 - 1.6448536269514722 * 0.5, 1e-12);
  EXPECT_EQ(value.steps_saved, 0);
}

TEST(Value, AtMostTheRemainingSteps) {
  EXPECT_EQ(value_of_leap({5, 5}, {4, 4}, 1e-6, 7).steps_saved, 7);
}

TEST(Value, NothingIsClaimedWhenTheFallIsUnknownOrALossIsNotFinite) {
  EXPECT_EQ(value_of_leap({5, 5}, {4, 4}, 0, 100).steps_saved, 0);
  EXPECT_EQ(value_of_leap({5, 5}, {4, std::nan("")}, 0.1, 100).steps_saved, 0);
}

}  // namespace
}  // namespace leapverify::policy

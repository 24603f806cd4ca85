// The learning rate over the run: warm-up, then one of the curves down to final_share.
#include <gtest/gtest.h>
#include <leapverify/integrations/trainer/schedule.h>

#include <cmath>

namespace leapverify::trainer {
namespace {

ScheduleOptions schedule(ScheduleKind kind) {
  ScheduleOptions options;
  options.kind = kind;
  options.warmup = 100;
  options.final_share = 0.1;
  options.decay_share = 0.25;
  return options;
}

constexpr ScheduleKind kAll[] = {ScheduleKind::kConstant, ScheduleKind::kLinear,
                                 ScheduleKind::kCosine, ScheduleKind::kWsd};

TEST(Schedule, WarmsUpInALineAndEndsAtTheFinalShare) {
  for (const ScheduleKind kind : kAll) {
    EXPECT_DOUBLE_EQ(schedule_factor(schedule(kind), 1, 500), 0.01) << name_of(kind);
    EXPECT_DOUBLE_EQ(schedule_factor(schedule(kind), 99, 500), 0.99) << name_of(kind);
    EXPECT_DOUBLE_EQ(schedule_factor(schedule(kind), 100, 500), 1) << name_of(kind);
    const double end = kind == ScheduleKind::kConstant ? 1 : 0.1;
    EXPECT_NEAR(schedule_factor(schedule(kind), 500, 500), end, 1e-12) << name_of(kind);
    EXPECT_NEAR(schedule_factor(schedule(kind), 600, 500), end, 1e-12) << "beyond the plan";
  }
}

TEST(Schedule, FallsAlongTheCurveOfItsKind) {
  // Half way, at step 300 of 500, and three quarters of the way, at 400.
  EXPECT_DOUBLE_EQ(schedule_factor(schedule(ScheduleKind::kLinear), 300, 500), 0.55);
  EXPECT_DOUBLE_EQ(schedule_factor(schedule(ScheduleKind::kCosine), 300, 500), 0.55);
  EXPECT_NEAR(schedule_factor(schedule(ScheduleKind::kCosine), 400, 500),
              0.1 + 0.9 * 0.5 * (1 - std::sqrt(0.5)), 1e-12);
  EXPECT_DOUBLE_EQ(schedule_factor(schedule(ScheduleKind::kConstant), 400, 500), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(schedule(ScheduleKind::kWsd), 300, 500), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(schedule(ScheduleKind::kWsd), 400, 500), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(schedule(ScheduleKind::kWsd), 450, 500), 0.55);
}

TEST(Schedule, WithoutWarmUpStartsInFull) {
  ScheduleOptions options = schedule(ScheduleKind::kConstant);
  options.warmup = 0;
  EXPECT_EQ(schedule_factor(options, 1, 500), 1);
}

}  // namespace
}  // namespace leapverify::trainer

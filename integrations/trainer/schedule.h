// The learning rate over the run, as a factor on the configured one.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>

namespace leapverify::trainer {

/// wsd: warm-up, stable, decay: constant until a linear decay at the end.
enum class ScheduleKind { kConstant, kLinear, kCosine, kWsd };

}  // namespace leapverify::trainer

namespace leapverify {
template <>
struct EnumNames<trainer::ScheduleKind> {
  static constexpr Named<trainer::ScheduleKind> names[] = {
      {trainer::ScheduleKind::kConstant, "constant"},
      {trainer::ScheduleKind::kLinear, "linear"},
      {trainer::ScheduleKind::kCosine, "cosine"},
      {trainer::ScheduleKind::kWsd, "wsd"}};
};
}  // namespace leapverify

namespace leapverify::trainer {

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kCosine;
  std::int64_t warmup = 100;
  double final_share = 0.1;
  double decay_share = 0.2;

  void describe(FieldVisitor& visitor);
};

/// Factor for the step that is the `step`-th of `steps`, counted from 1: step/warmup while that is
/// below 1; then from 1 down to final_share along the kind's curve, reached at the last step. wsd
/// falls over the last decay_share of the steps after the warm-up.
double schedule_factor(const ScheduleOptions& options, std::int64_t step, std::int64_t steps);

}  // namespace leapverify::trainer

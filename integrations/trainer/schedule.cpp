#include <leapverify/integrations/trainer/schedule.h>

#include <algorithm>
#include <cmath>

namespace leapverify::trainer {

void ScheduleOptions::describe(FieldVisitor& visitor) {
  visitor.choice("kind", kind, "how the learning rate falls after the warm-up");
  visitor.field("warmup", warmup, at_least(0), "steps over which the learning rate rises linearly");
  visitor.field("final_share", final_share, between(0, 1),
                "share of the learning rate left at the last step (linear, cosine, wsd)");
  visitor.field("decay_share", decay_share, Range{0, 1, true, false},
                "wsd: share of the steps after the warm-up over which the learning rate falls");
}

double schedule_factor(const ScheduleOptions& options, std::int64_t step, std::int64_t steps) {
  if (step < options.warmup) {
    return static_cast<double>(step) / static_cast<double>(options.warmup);
  }
  const double length = static_cast<double>(std::max<std::int64_t>(steps - options.warmup, 1));
  const double way = std::min(static_cast<double>(step - options.warmup) / length, 1.0);
  switch (options.kind) {
    case ScheduleKind::kConstant:
      return 1;
    case ScheduleKind::kLinear:
      return 1 - (1 - options.final_share) * way;
    case ScheduleKind::kWsd: {
      const double fallen = std::max(0.0, 1 - (1 - way) / options.decay_share);
      return 1 - (1 - options.final_share) * fallen;
    }
    case ScheduleKind::kCosine: {
      const double pi = std::acos(-1.0);
      return options.final_share + (1 - options.final_share) * 0.5 * (1 + std::cos(pi * way));
    }
  }
  return 1;
}

}  // namespace leapverify::trainer

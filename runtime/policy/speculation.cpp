#include <leapverify/runtime/policy/speculation.h>

#include <limits>

namespace leapverify::policy {

void SpeculationOptions::describe(FieldVisitor& visitor) {
  visitor.field(
      "steps", steps, at_least(0),
      "steps that a worker trains ahead, from the weights predicted so many steps ahead, while the "
      "run walks there; 0: no worker");
  visitor.choice("kind", kind,
                 "ahead: the steps after those, so that an accepted result gains them; race: the "
                 "same steps from "
                 "there, a second branch beside the run's own");
  visitor.field("max_distance", max_distance, above(0),
                "ahead: its weights are looked at where the run arrives within this distance of "
                "where it began");
  visitor.choice(
      "relative_to", relative_to,
      "what that is a share of; way: what the run walked meanwhile; norm: that of the weights, as "
      "published");
  visitor.field("timeout_seconds", timeout_seconds, Range{0, 1e7, true, false},
                "how long the run waits for the worker then");
}

double relative_distance(const Arrival& arrival, DistanceScale scale) {
  const double whole = scale == DistanceScale::kWay ? arrival.way : arrival.norm;
  return whole > 0 ? arrival.distance / whole : std::numeric_limits<double>::infinity();
}

}  // namespace leapverify::policy

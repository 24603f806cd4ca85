#include <leapverify/runtime/policy/rate_scale.h>

#include <algorithm>

namespace leapverify::policy {

void RateOptions::describe(FieldVisitor& visitor) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  visitor.field("growth", growth, Range{1, kInfinity, true, true},
                "factor on the learning rate when a candidate verifies");
  visitor.field("largest", largest, Range{1, kInfinity, false, true},
                "largest factor on the scheduled learning rate");
  visitor.field("smallest", smallest, Range{0, 1, true, false},
                "smallest factor on the scheduled learning rate");
  visitor.field(
      "look_back", look_back, between(1, 30),
      "observations back to weights that are compared with those of now; better ones lower "
      "the learning rate");
  visitor.field("max_hold", max_hold, at_least(0),
                "most verified candidates that do not raise the rate after it was lowered");
}

RateScale::RateScale(const RateOptions& options) : options_(options) { validate_fields(options_); }

void RateScale::restore(const State& state) {
  state_ = state;
  state_.scale = std::clamp(state_.scale, options_.smallest, options_.largest);
}

void RateScale::follow(double scheduled) {
  if (!(scheduled > state_.peak)) return;
  if (state_.scale > 1) state_.scale = std::max(1.0, state_.scale * state_.peak / scheduled);
  state_.climbs = state_.peak > 0;
  state_.peak = scheduled;
}

bool RateScale::looks_back(std::int64_t observation) const {
  return state_.scale > options_.smallest && observation - state_.changed >= options_.look_back;
}

bool RateScale::raise(std::int64_t observation, bool far) {
  if (state_.hold > 0) {
    --state_.hold;
    return false;
  }
  const double factor = far ? options_.growth * options_.growth : options_.growth;
  const double raised = std::min(options_.largest, state_.scale * factor);
  if (raised == state_.scale) return false;
  state_.scale = raised;
  state_.changed = observation;
  return true;
}

bool RateScale::lower(std::int64_t observation) {
  const double lowered = std::max(options_.smallest, state_.scale / options_.growth);
  if (lowered == state_.scale) return false;
  state_.scale = lowered;
  state_.changed = observation;
  state_.hold = std::min(options_.max_hold, state_.next_hold);
  state_.next_hold = std::min(options_.max_hold, 2 * state_.next_hold);
  return true;
}

}  // namespace leapverify::policy

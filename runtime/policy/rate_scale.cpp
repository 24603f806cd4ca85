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

void RateScale::follow(const std::vector<double>& scheduled) {
  // Param groups may be added in the midst of a run.
  for (std::size_t i = state_.scheduled.size(); i < scheduled.size(); ++i) {
    state_.scheduled.push_back(scheduled[i]);
    state_.observed.push_back(scheduled[i]);
    state_.reached.push_back(state_.scale * scheduled[i]);
  }
  for (std::size_t i = 0; i < scheduled.size(); ++i) {
    if (state_.scale > 1 && scheduled[i] > state_.scheduled[i]) {
      state_.scale = std::max(1.0, std::min(state_.scale, state_.reached[i] / scheduled[i]));
    }
  }
  state_.scheduled = scheduled;
}

void RateScale::observe() {
  state_.climbs = false;
  for (std::size_t i = 0; i < state_.scheduled.size(); ++i) {
    if (state_.scheduled[i] > state_.observed[i]) state_.climbs = true;
  }
  state_.observed = state_.scheduled;
}

bool RateScale::looks_back(std::int64_t observation) const {
  return state_.scale > options_.smallest && observation - state_.changed >= options_.look_back;
}

bool RateScale::raise(std::int64_t observation, bool far) {
  if (state_.climbs && !far) return false;
  if (state_.hold > 0) {
    --state_.hold;
    return false;
  }
  const double factor = far ? options_.growth * options_.growth : options_.growth;
  const double raised = std::min(options_.largest, state_.scale * factor);
  if (raised == state_.scale) return false;
  move(raised, observation);
  return true;
}

void RateScale::move(double to, std::int64_t observation) {
  for (std::size_t i = 0; i < state_.scheduled.size(); ++i) {
    const double now = to * state_.scheduled[i];
    state_.reached[i] = to > state_.scale ? std::max(state_.reached[i], now) : now;
  }
  state_.scale = to;
  state_.changed = observation;
}

bool RateScale::lower(std::int64_t observation) {
  const double lowered = std::max(options_.smallest, state_.scale / options_.growth);
  if (lowered == state_.scale) return false;
  move(lowered, observation);
  state_.hold = std::min(options_.max_hold, state_.next_hold);
  state_.next_hold = std::min(options_.max_hold, 2 * state_.next_hold);
  return true;
}

}  // namespace leapverify::policy

#include <leapverify/runtime/policy/rate_scale.h>

#include <cmath>
#include <limits>

namespace leapverify::policy {
namespace {

/// Tries that may tell nothing before the schedule is believed.
constexpr std::int64_t kMaxMisses = 3;

/// Where a free rate begins, and what it rises by at a step until it has come to its stride.
constexpr double kFreeStart = 1.0 / 4096;
constexpr double kFreeRise = 8;

/// How straight the way from the start must be for a free rate that has come to its stride to rise, and
/// the shares of the run in which it may, there and where nothing is known of the way yet.
constexpr double kFreeStraight = 1.1;
constexpr double kFreeRiseShare = 0.6;
constexpr double kFreeUnknownShare = 0.1;

constexpr const char* kStrideReached = "the weights go as far as rate.stride";

/// No rate that weights are trained at lies further from the schedule's.
constexpr double kFreeLimit = 1e12;

/// What remains of a free rate where the run was not shown to have got better.
constexpr double kFreeSlower = 0.5;

/// Steps at the stride that tell whether it is too long: where the gradient's product with the way from the
/// start is beyond so many times its lowest, it is. Along a parabola the loss is then above that at the start.
constexpr std::int64_t kFreeFeltSteps = 5;
constexpr double kFreeOvershoot = 8;
/// What is then left of the stride, how often at most, and until what share of the run; and of the rate.
constexpr double kFreeShorter = 0.5;
constexpr std::int64_t kFreeMostAnew = 8;
constexpr double kFreeAnewShare = 0.25;
constexpr double kFreeAnew = 1.0 / 64;

}  // namespace

void RateOptions::describe(FieldVisitor& visitor) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  visitor.field(
      "start", start, Range{0, 1, true, false},
      "factor on the scheduled learning rate until candidates verify that it may rise; 1 after "
      "three tries that told nothing, and where planned_steps are not known or allow no try");
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
  visitor.field(
      "anneal", anneal, Range{0, 1, false, true},
      "share of planned_steps at the end over which a rate that was raised falls to 0, where the "
      "schedule does not bring it down itself; 0: the schedule's alone");
  visitor.field(
      "stride", stride, Range{0, kInfinity, false, true},
      "furthest that the matrices may be from their running average, relative to their norm; what "
      "goes further lowers the learning rate; 0: no bound");
  visitor.field(
      "free", free,
      "whatever the schedule, the learning rate rises while the matrices go straight and at most "
      "as "
      "far as the stride (where none is given planned_steps^(-1/4), and twice that if less than a "
      "quarter of the model is trained, as with adapters), and the weights are drawn to the "
      "average "
      "of all that the optimizer made, where they end with planned_steps; a run whose first steps "
      "go "
      "too far begins anew with half of the stride; no candidates are tried");
  visitor.field(
      "looks", looks, between(0, 1000),
      "with free: how often in a run its average is compared with the best one so far, on held-out "
      "sequences, or as often as max_overhead allows; where it is not shown to be better the "
      "learning rate is halved, where it is worse the run goes back; 0: never");
}

double RateOptions::free_stride(std::int64_t planned_steps, bool adapters) {
  return (adapters ? 2 : 1) * std::pow(static_cast<double>(planned_steps), -0.25);
}

RateScale::RateScale(const RateOptions& options) : options_(options) {
  validate_fields(options_);
  state_.scale = state_.base = options_.start;
  if (is_free()) state_.held = kFreeStart;
}

void RateScale::restore(const State& state) {
  state_ = state;
  state_.base = std::max(state_.base, options_.start);
  if (state_.base == 1) options_.start = 1;
  const double now = largest_scheduled();
  const bool was_free = state_.unit > 0;
  if (is_free() && !was_free) {
    // What had verified is where it begins.
    state_.held = state_.has_risen ? state_.held * state_.scale : kFreeStart;
    state_.unit = now;
    state_.scale = state_.base = 1;
    state_.has_risen = false;
  } else if (!is_free() && was_free) {
    state_.held = std::min(1.0, now > 0 ? state_.held * state_.unit / now : state_.held);
    state_.unit = state_.ceiling = 0;
    state_.found = state_.fits = false;
    state_.shorter = 1;
    state_.begun_anew = 0;
  }
  // Where the rate is free, the length of the run, and with it the stride, may not be known yet.
  if (!has_stride() && !is_free()) {
    state_.held = 1;
    state_.reach = 0;
  }
  state_.scale = std::clamp(state_.scale, smallest(), options_.largest);
}

void RateScale::follow(const std::vector<double>& scheduled, double left) {
  // Param groups may be added in the midst of a run.
  for (std::size_t i = state_.scheduled.size(); i < scheduled.size(); ++i) {
    state_.scheduled.push_back(scheduled[i]);
    state_.largest.push_back(scheduled[i]);
    state_.observed.push_back(scheduled[i]);
    state_.reached.push_back(state_.scale * scheduled[i]);
  }
  const bool ends = state_.has_risen && left > 0 && left < options_.anneal;
  const bool was_above = state_.scale > state_.base;
  state_.annealed = 1;
  left_ = left;
  for (std::size_t i = 0; i < scheduled.size(); ++i) {
    if (state_.scale > state_.base && scheduled[i] > state_.scheduled[i]) {
      state_.scale =
          std::max(state_.base, std::min(state_.scale, state_.reached[i] / scheduled[i]));
    }
    state_.largest[i] = std::max(state_.largest[i], scheduled[i]);
    if (ends && scheduled[i] > 0) {
      const double most = state_.largest[i] * left / options_.anneal;
      state_.annealed = std::min(state_.annealed, most / scheduled[i]);
    }
  }
  // What was verified has been used up.
  if (was_above && state_.scale == state_.base) {
    state_.has_risen = false;
    state_.misses = 0;
  }
  state_.scheduled = scheduled;
  if (is_free() && state_.unit == 0) state_.unit = largest_scheduled();
}

double RateScale::value() const {
  const double now = largest_scheduled();
  if (is_free() && now > 0) return free_value() / now;
  return state_.scale * state_.annealed * state_.held;
}

double RateScale::iterate_weight(std::int64_t step) const {
  const double rate = largest_scheduled() > 0 ? free_value() : 0;
  return static_cast<double>(step) * rate * rate;
}

void RateScale::observe() {
  state_.climbs = false;
  for (std::size_t i = 0; i < state_.scheduled.size(); ++i) {
    if (state_.scheduled[i] > state_.observed[i]) state_.climbs = true;
  }
  state_.observed = state_.scheduled;
}

bool RateScale::looks_back(std::int64_t observation) const {
  return state_.scale > smallest() && observation - state_.changed >= options_.look_back;
}

bool RateScale::raise(std::int64_t observation, bool far) {
  // Tries tell something.
  state_.misses = 0;
  if (state_.climbs && !far) return false;
  if (state_.hold > 0) {
    --state_.hold;
    return false;
  }
  const double factor = far ? options_.growth * options_.growth : options_.growth;
  const double raised = std::min(options_.largest, state_.scale * std::min(factor, room()));
  if (raised <= state_.scale) return false;
  move(raised, observation);
  state_.has_risen = true;
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
  const double lowered = std::max(smallest(), state_.scale / options_.growth);
  if (lowered == state_.scale) return false;
  move(lowered, observation);
  state_.hold = std::min(options_.max_hold, state_.next_hold);
  state_.next_hold = std::min(options_.max_hold, 2 * state_.next_hold);
  return true;
}

bool RateScale::miss(bool refuted) {
  if (state_.has_risen) return false;
  state_.refuted = state_.refuted || refuted;
  return ++state_.misses >= kMaxMisses && give_up();
}

bool RateScale::give_up() {
  if (state_.has_risen || state_.refuted || state_.base == 1) return false;
  // Up to the stride only, and in steps.
  if (has_stride()) state_.held *= state_.scale;
  state_.scale = state_.base = options_.start = 1;
  return true;
}

void RateScale::walk(double from_start, double moved) {
  // Weights that stay where they are tell nothing.
  if (!(moved > 0)) return;
  state_.path += moved;
  state_.straightness = from_start / state_.path;
  ++state_.waypoints;
}

void RateScale::forget_path() {
  state_.path = state_.straightness = 0;
  state_.waypoints = 0;
  state_.slope = state_.lowest_slope = 0;
  state_.felt = 0;
}

bool RateScale::feels_slope() const {
  return is_free() && !state_.fits && 1 - left_ <= kFreeAnewShare;
}

bool RateScale::feel(double slope, std::int64_t step) {
  if (!std::isfinite(slope)) {
    state_.fits = state_.found;
    return false;
  }
  state_.lowest_slope = std::min(state_.lowest_slope, slope);
  if (!state_.found) return false;
  state_.slope += slope;
  if (++state_.felt < kFreeFeltSteps) return false;
  const double mean = state_.slope / static_cast<double>(state_.felt);
  const bool too_far = mean > -kFreeOvershoot * state_.lowest_slope;
  if (!too_far || state_.begun_anew == kFreeMostAnew) {
    state_.fits = true;
    return false;
  }
  ++state_.begun_anew;
  state_.shorter *= kFreeShorter;
  state_.held *= kFreeAnew;
  state_.found = false;
  forget_path();
  go_back(step);
  return true;
}

double RateScale::slow_down() {
  state_.held *= kFreeSlower;
  state_.ceiling = state_.held;
  return kFreeSlower;
}

void RateScale::go_back(std::int64_t step) {
  // The average of the matrices begins where they are.
  state_.distance = state_.reach = 0;
  state_.told = step;
}

RateScale::Factor RateScale::free_rise() const {
  if (!state_.found) return {kFreeRise, "the weights do not go as far as rate.stride yet"};
  const double done = 1 - left_;
  // One move is always straight.
  if (state_.waypoints < 2 && done < kFreeUnknownShare) {
    return {options_.growth, "the way from the start is not known yet"};
  }
  if (state_.waypoints >= 2 && state_.straightness >= kFreeStraight && done < kFreeRiseShare) {
    return {options_.growth, "the way from the start is straight"};
  }
  return {1, kStrideReached};
}

const char* RateScale::limit(double distance, std::int64_t step, double decay) {
  // The distance still holds what was gone before it was told last, and says too late what is gone now.
  const double kept = std::pow(decay, static_cast<double>(step - state_.told));
  state_.reach = std::max(0.0, (distance - kept * state_.distance) / (1 - kept));
  state_.distance = distance;
  state_.told = step;
  const double stride = options_.stride * state_.annealed * state_.shorter;
  if (is_free()) {
    // Weights that stay where they are tell nothing of the rate, unless it is too small to move them.
    if (largest_scheduled() == 0) return kStrideReached;
    if (state_.reach == 0 && (state_.found || state_.held >= 1)) return kStrideReached;
    const double wanted = stride / state_.reach;
    const Factor rise = free_rise();
    if (wanted < 1) state_.found = true;
    const double most = state_.ceiling > 0 ? state_.ceiling : kFreeLimit;
    state_.held = std::clamp(state_.held * std::min(rise.value, wanted), 1 / kFreeLimit, most);
    return rise.value < wanted ? rise.reason : kStrideReached;
  }
  // Where moves undo each other, that reads as no speed at all.
  const double most = std::min(1.0, state_.held * options_.growth);
  state_.held = std::min(most, state_.held * stride / state_.reach);
  return kStrideReached;
}

double RateScale::largest_scheduled() const {
  double largest = 0;
  for (const double rate : state_.scheduled) largest = std::max(largest, rate);
  return largest;
}

double RateScale::room() const {
  if (!has_stride() || state_.reach == 0) return std::numeric_limits<double>::infinity();
  return state_.held < 1 ? state_.held : options_.stride / state_.reach;
}

}  // namespace leapverify::policy

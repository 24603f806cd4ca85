// How much faster than its schedule the run may go: a factor on the base optimizer's learning rate
// that verified candidates move.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>

namespace leapverify::policy {

struct RateOptions {
  double growth = 1.5;
  double largest = 1024;
  double smallest = 1;
  std::int64_t look_back = 2;
  std::int64_t max_hold = 8;

  void describe(FieldVisitor& visitor);
};

/// The scale s, 1 at the start. A candidate further along the trend that verifies says that the rate
/// is too small: s ← growth · s, or growth² · s where it lies far ahead. A look back that verifies, weights of `look_back` observations ago
/// better than those of now, says that the rate does harm: s ← s ÷ growth, and the next n verified
/// candidates do not raise it, with n doubling up to max_hold at every such step down. Within
/// [smallest, largest].
///
/// What has verified is a learning rate, not a factor. Where the schedule climbs to rates that it has
/// not had before, as in a warm-up, a scale above 1 falls by as much, down to 1; and since a rate that
/// is still small verifies easily, only candidates far ahead are then asked.
class RateScale {
 public:
  /// Throws InvalidOption.
  explicit RateScale(const RateOptions& options);

  double value() const { return state_.scale; }

  /// To be called with the learning rate that the schedule gives to each step.
  void follow(double scheduled);

  /// Whether the schedule has climbed to a new height since end_climb() was called last.
  bool climbs() const { return state_.climbs; }
  void end_climb() { state_.climbs = false; }

  /// Whether to look back before trying at this observation, counted from 1: only where the scale
  /// can fall, and has been the same for `look_back` observations.
  bool looks_back(std::int64_t observation) const;

  /// A candidate verified, perhaps one far ahead; returns whether the scale rose.
  bool raise(std::int64_t observation, bool far = false);

  /// A look back verified; returns whether the scale fell.
  bool lower(std::int64_t observation);

  struct State {
    double scale = 1;
    /// Largest learning rate of the schedule so far.
    double peak = 0;
    bool climbs = false;
    /// Observation of the last change.
    std::int64_t changed = 0;
    /// Verified candidates that are still not to raise the scale, and how many the next step down
    /// will hold back.
    std::int64_t hold = 0;
    std::int64_t next_hold = 1;
  };
  const State& state() const { return state_; }
  /// A scale outside of [smallest, largest], from a run with other options, goes to the nearer end.
  void restore(const State& state);

 private:
  RateOptions options_;
  State state_;
};

}  // namespace leapverify::policy

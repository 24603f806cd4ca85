// How much faster than its schedule the run may go: a factor on the base optimizer's learning rate
// that verified candidates move.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>
#include <vector>

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
/// is too small: s ← growth · s, or growth² · s where it lies far ahead. A look back that verifies,
/// weights of `look_back` observations ago better than those of now, says that the rate does harm:
/// s ← s ÷ growth, and the next n verified candidates do not raise it, with n doubling up to
/// max_hold at every such step down. Within [smallest, largest].
///
/// What has verified is a learning rate, not a factor. Where the schedule climbs, as in a warm-up or
/// after a restart, a scale above 1 falls, down to 1, so that no param group gets a rate above what
/// it had when the scale was moved last. And since a rate that is still small verifies easily, only
/// candidates far ahead raise it then.
class RateScale {
 public:
  /// Throws InvalidOption.
  explicit RateScale(const RateOptions& options);

  double value() const { return state_.scale; }

  /// To be called before each step with the learning rates that the schedule gives to the param
  /// groups.
  void follow(const std::vector<double>& scheduled);

  /// To be called at each observation.
  void observe();

  /// Whether the schedule had climbed when it was observed last.
  bool climbs() const { return state_.climbs; }

  /// Whether to look back before trying at this observation, counted from 1: only where the scale
  /// can fall, and was not moved by the last `look_back` observations.
  bool looks_back(std::int64_t observation) const;

  /// A candidate verified; returns whether the scale rose.
  bool raise(std::int64_t observation, bool far = false);

  /// A look back verified; returns whether the scale fell.
  bool lower(std::int64_t observation);

  struct State {
    double scale = 1;
    /// Learning rates of the schedule, by param group: of the last step, and at the last observation.
    std::vector<double> scheduled;
    std::vector<double> observed;
    /// Largest learning rates in force when the scale was moved up, of now when it was moved down.
    std::vector<double> reached;
    bool climbs = false;
    /// Observation of the last move.
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
  void move(double to, std::int64_t observation);

  RateOptions options_;
  State state_;
};

}  // namespace leapverify::policy

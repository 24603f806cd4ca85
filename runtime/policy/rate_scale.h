// How much faster than its schedule the run may go: a factor on the base optimizer's learning rate
// that verified candidates move.
#pragma once

#include <leapverify/regimes/field.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace leapverify::policy {

struct RateOptions {
  double start = 1;
  double growth = 1.5;
  double largest = 1024;
  double smallest = 1;
  std::int64_t look_back = 2;
  std::int64_t max_hold = 8;
  double anneal = 0;
  double stride = 0;
  bool free = false;
  std::int64_t looks = 0;

  /// Of a free rate, where no stride is given: n^(-1/4) for n planned steps, and twice that for
  /// adapters, most of which begin at 0 and have further to go than weights that are there already.
  static double free_stride(std::int64_t planned_steps, bool adapters);
  /// Steps between its waypoints: some forty a run, or one a step.
  static std::int64_t free_waypoint_every(std::int64_t planned_steps) {
    return std::max<std::int64_t>(1, planned_steps / 40);
  }
  /// The most that the base optimizer keeps of past gradients at a free rate, Adam and others, and how
  /// far the weights are pulled from the iterate to the average (iterate_average.h).
  static constexpr double kFreeFirstBeta = 0.5;
  static constexpr double kFreeMomentum = 0.75;
  static constexpr double kFreePull = 0.8;
  /// How many times the norm that torch draws them with matrices have at the most, as strides are relative to
  /// it, and where the base keeps momentum as SGD and Muon do.
  static constexpr double kFreeGrown = 0.8;
  static constexpr double kFreeGrownByMomentum = 1.6;
  /// With a longer stride weights go where nothing is learned.
  static constexpr double kFreeLargestStride = 2;

  void describe(FieldVisitor& visitor);
};

/// The scale s, `start` at first. A candidate further along the trend that verifies says that the rate
/// is too small: s ← growth · s, or growth² · s where it lies far ahead. A look back that verifies,
/// weights of `look_back` observations ago better than those of now, says that the rate does harm:
/// s ← s ÷ growth, and the next n verified candidates do not raise it, with n doubling up to
/// max_hold at every such step down. Within [smallest, largest], and [start, largest] where that is
/// more.
///
/// What has verified is a learning rate, not a factor. Where the schedule climbs, as in a warm-up or
/// after a restart, a scale above `start` falls, down to there, so that no param group gets a rate
/// above what it had when the scale was moved last. And since a rate that is still small verifies
/// easily, only candidates far ahead raise it then.
///
/// A start below 1 makes a rate that is too large harmless, as long as candidates tell something: one
/// verifies, or is shown to be no gain. Where after three tries none has told anything, or no more can be
/// made, s is 1, as if it had begun there.
///
/// A raised rate is noisy, which a schedule that falls makes good at the end. Where it does not fall, the
/// last `anneal` of a run whose scale has risen does: no rate is above the largest that its schedule
/// had, times s, times the share of that part that is left.
///
/// The next few steps' held-out losses do not show what a run that moves too fast loses for good. So
/// with a `stride` the matrices go no further than that share of their norm in the time that the
/// average of the weights looks back on: a factor of at most 1 beside s holds them there. It needs no
/// verification, rises by itself as the weights calm down, and while it is below 1, s does not rise.
///
/// A `free` rate asks nothing but the weights: the largest of the groups' rates begins at a 4096th of the first
/// above 0, rises up to eightfold at a step until the stride is reached, and falls where the matrices go
/// further. Of what the schedule says only the ratios between the groups count. Later in a run the stride
/// is noise and hardly depends on the rate. So from then on it goes by how straight the way from the start
/// is, the square of its length over the sum of the squared moves between waypoints, which a random walk
/// keeps at 1: at 1.1 and more the rate rises at observations in the first six tenths of the planned
/// steps. Beyond the stride it never goes, and where a run was not shown to have got better, it
/// loses half and rises to no more. Where the gradients of the first five steps at the stride say that it is
/// downhill to the start, more than eight times as steep as it ever was uphill, the stride is halved and the
/// run begins anew.
class RateScale {
 public:
  /// Throws InvalidOption.
  explicit RateScale(const RateOptions& options);

  /// Factor on the scheduled learning rates.
  double value() const;
  /// What looks back can lower it to.
  double smallest() const { return std::min(options_.smallest, options_.start); }

  /// To be called before each step with the learning rates that the schedule gives to the param
  /// groups, and the share of the planned steps that are left, this one included; 1 where that is not
  /// known.
  void follow(const std::vector<double>& scheduled, double left = 1);

  /// To be called at each observation.
  void observe();

  /// Whether the end of the run holds the rate below what the scale makes of the schedule.
  bool anneals() const { return state_.annealed < 1; }

  /// Whether the schedule had climbed when it was observed last.
  bool climbs() const { return state_.climbs; }

  /// Whether to look back before trying at this observation, counted from 1: only where the scale
  /// can fall, and was not moved by the last `look_back` observations.
  bool looks_back(std::int64_t observation) const;

  /// A candidate verified; returns whether the scale rose.
  bool raise(std::int64_t observation, bool far = false);

  /// A look back verified; returns whether the scale fell.
  bool lower(std::int64_t observation);

  /// In a try nothing verified; `refuted`: of a candidate it was shown that it is no gain. Returns whether
  /// the scale went to 1.
  bool miss(bool refuted);

  /// There will be no more tries; returns whether the scale went to 1.
  bool give_up();

  bool has_stride() const { return options_.stride > 0; }
  bool is_free() const { return options_.free; }

  /// Whether limit() is to be called after every step: a free rate still climbs to its stride.
  bool climbs_to_stride() const { return is_free() && !state_.found; }

  /// Of a free rate: what the iterate of a step, counted from 1, weighs in the average. Steps
  /// weigh by the square of their rate, as in Schedule-Free, and later ones more.
  double iterate_weight(std::int64_t step) const;
  /// Of a free rate: the largest of the groups' rates in force.
  double free_value() const { return state_.held * state_.unit; }

  /// At a waypoint of a free rate: the squared distance of the matrices from where they began, and that
  /// from the waypoint before.
  void walk(double from_start, double moved);
  /// The way begins anew.
  void forget_path();
  /// Whether the first steps of a free rate are still to tell if its stride is too long, so that the run may
  /// begin anew: feel() is to be called after each.
  bool feels_slope() const;
  /// With the product of the gradient and the way from the start, both of before the step: above 0 it is
  /// downhill to where the run began. Returns whether the run is to begin anew from there, with half of the
  /// stride.
  bool feel(double slope, std::int64_t step);
  /// The stride was shown not to be too long.
  void fit_stride() { state_.fits = true; }
  /// Of a free run that was not shown to have got better: half of the rate, and no more than that from
  /// here on. Returns the factor.
  double slow_down();
  /// After a step from which it went back to weights that it had before.
  void go_back(std::int64_t step);

  /// To be called after a step, counted from 1, with how far the matrices are from their average,
  /// relative to their norm, and the average's decay per step. Returns what decided on the rate.
  const char* limit(double distance, std::int64_t step, double decay);

  /// What the scale may rise by; below 1 where it is held, infinite without a stride.
  double room() const;

  struct State {
    double scale = 1;
    /// What it falls to where the schedule climbs: where it began.
    double base = 1;
    bool has_risen = false;
    /// Whether a candidate was shown to be no gain, and the tries before that told nothing.
    bool refuted = false;
    std::int64_t misses = 0;
    /// Factor at the end of a run.
    double annealed = 1;
    /// Learning rates of the schedule, by param group: of the last step, the largest so far, and at the
    /// last observation.
    std::vector<double> scheduled;
    std::vector<double> largest;
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
    /// From the matrices to their average, and the step after which it was told.
    double distance = 0;
    std::int64_t told = 0;
    /// Where that distance would end at the present speed; 0 where none was told.
    double reach = 0;
    /// Factor that keeps it within the stride.
    double held = 1;
    /// Whether a free rate has come to its stride.
    bool found = false;
    /// Sum of the squared moves between waypoints, how many there were, and how straight the way was at
    /// the last one.
    double path = 0;
    std::int64_t waypoints = 0;
    double straightness = 0;
    /// The first rate above 0 that the schedule had, which `held` is a factor on where the rate is free.
    double unit = 0;
    /// What `held` does not rise above any more; 0 where the run never slowed down.
    double ceiling = 0;
    /// Of a free rate: the lowest slope so far, the sum of those since it came to its stride, and how many they
    /// are; whether the stride was found to fit; how often the run began anew, and what that left of it.
    double lowest_slope = 0;
    double slope = 0;
    std::int64_t felt = 0;
    bool fits = false;
    std::int64_t begun_anew = 0;
    double shorter = 1;
  };
  const State& state() const { return state_; }
  /// A scale outside of its bounds, from a run with other options, goes to the nearer one.
  void restore(const State& state);

 private:
  void move(double to, std::int64_t observation);
  struct Factor {
    double value = 1;
    const char* reason;
  };
  /// The most that a free rate may rise by now.
  Factor free_rise() const;
  /// The largest of the groups' rates, as the schedule has them.
  double largest_scheduled() const;

  RateOptions options_;
  State state_;
  /// Of the planned steps, at the last one.
  double left_ = 1;
};

}  // namespace leapverify::policy

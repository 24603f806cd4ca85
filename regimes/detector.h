// From a signal, one number an observation, to a regime.
#pragma once

#include <leapverify/regimes/regime.h>
#include <leapverify/regimes/signal.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace leapverify {

/// activation_cosine: between the activations of the probes now and at the last observation, mean
/// over the probes, as published. delta_cosine: between the two last moves of the snapshots; it
/// takes no forward pass.
enum class SignalKind { kActivationCosine, kDeltaCosine };

enum class ThresholdKind { kFixed, kPercentile };

template <>
struct EnumNames<SignalKind> {
  static constexpr Named<SignalKind> names[] = {
      {SignalKind::kActivationCosine, "activation_cosine"},
      {SignalKind::kDeltaCosine, "delta_cosine"}};
};
template <>
struct EnumNames<ThresholdKind> {
  static constexpr Named<ThresholdKind> names[] = {{ThresholdKind::kFixed, "fixed"},
                                                   {ThresholdKind::kPercentile, "percentile"}};
};

struct DetectorOptions {
  SignalKind signal = SignalKind::kDeltaCosine;
  bool per_rate = false;
  ThresholdKind thresholds = ThresholdKind::kPercentile;
  // Published for the mean activation cosine between checkpoints 50 steps apart: arXiv 2602.19580.
  double stable_at_least = 0.999489;
  double chaotic_at_most = 0.996270;
  double stable_percentile = 70;
  double chaotic_percentile = 30;
  std::int64_t burn_in = 4;
  std::int64_t hysteresis = 2;

  void describe(FieldVisitor& visitor);
};

/// Signals at or above the one are stable, at or below the other chaotic.
struct Thresholds {
  double stable_at_least = 0;
  double chaotic_at_most = 0;
};

/// The signals that cosines amount to, without those that are not finite: the cosines themselves, or
/// with per_rate what each would be at `largest_rate`.
std::vector<double> finite_signals(const std::vector<CosineAtRate>& measured, double largest_rate,
                                   const DetectorOptions& options);

/// Percentiles of the signals, with linear interpolation, where the options' percentiles lie; NaN
/// for fewer signals than `burn_in`.
Thresholds thresholds_of(const std::vector<double>& signals, const DetectorOptions& options);

/// What an observation was taken for.
struct RegimeReading {
  double signal = 0;
  /// The signal against the thresholds, by itself.
  Regime reading = Regime::kTransition;
  /// The regime after hysteresis: what decisions use.
  Regime regime = Regime::kTransition;
  /// Those that were in force; NaN during the burn-in.
  Thresholds thresholds;
};

/// Cosines go in, regimes come out.
///
/// Signal: the cosine or, with `per_rate`, what it would be at the largest learning rate given so far
/// (cosine_at_rate()). A cosine rises towards 1 merely because a schedule takes smaller steps; this
/// signal does not. With a constant rate it is bitwise the cosine.
/// Thresholds: `fixed` compares with the two given numbers; `percentile` with percentiles of all
/// earlier signals, each at the largest rate as of now, and reads `transition` until `burn_in`
/// signals are known.
/// Hysteresis: the regime is the least stable of the last `hysteresis` readings, and no better than
/// transition while there are fewer: stability must be seen that often in a row, its end counts at
/// once.
/// A signal that is not finite reads as chaotic and is kept out of the percentiles.
class Detector {
 public:
  /// Throws InvalidOption.
  explicit Detector(const DetectorOptions& options);

  /// `rate`: the mean learning rate of the steps since the last observation (per_rate only).
  RegimeReading observe(double cosine, double rate = 1);

  /// The regime after the last observation; transition before the first.
  Regime regime() const;

  /// Everything that observe() depends on.
  struct State {
    /// The last readings, oldest first, at most `hysteresis`.
    std::vector<Regime> readings;
    /// What the signals known so far were made of (percentile thresholds only).
    std::vector<CosineAtRate> measured;
    double largest_rate = 0;
  };
  const State& state() const { return state_; }
  void restore(State state) { state_ = std::move(state); }

  /// Forgets the readings, not the known signals: the weights were moved by other means than
  /// training.
  void interrupt() { state_.readings.clear(); }

 private:
  Thresholds thresholds() const;

  DetectorOptions options_;
  State state_;
};

}  // namespace leapverify

// From a signal, one number an observation, to a regime.
#pragma once

#include <leapverify/regimes/regime.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace leapverify {

enum class ThresholdKind { kFixed, kPercentile };

template <>
struct EnumNames<ThresholdKind> {
  static constexpr Named<ThresholdKind> names[] = {{ThresholdKind::kFixed, "fixed"},
                                                   {ThresholdKind::kPercentile, "percentile"}};
};

struct DetectorOptions {
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

/// What an observation was taken for.
struct RegimeReading {
  /// The signal against the thresholds, by itself.
  Regime reading = Regime::kTransition;
  /// The regime after hysteresis: what decisions use.
  Regime regime = Regime::kTransition;
  /// The thresholds that were in force; NaN during the burn-in.
  double stable_at_least = 0;
  double chaotic_at_most = 0;
};

/// Signals go in, regimes come out.
///
/// Thresholds: `fixed` compares with the two given numbers; `percentile` with percentiles of all
/// earlier signals (linear interpolation), and reads `transition` until `burn_in` signals are
/// known.
/// Hysteresis: the regime is the least stable of the last `hysteresis` readings, and no better than
/// transition while there are fewer: stability must be seen that often in a row, its end counts at
/// once.
/// A signal that is not finite reads as chaotic and is kept out of the percentiles.
class Detector {
 public:
  /// Throws InvalidOption.
  explicit Detector(const DetectorOptions& options);

  RegimeReading observe(double signal);

  /// The regime after the last observation; transition before the first.
  Regime regime() const;

  /// Everything that observe() depends on.
  struct State {
    /// The last readings, oldest first, at most `hysteresis`.
    std::vector<Regime> readings;
    /// All finite signals (percentile thresholds only).
    std::vector<double> signals;
  };
  const State& state() const { return state_; }
  void restore(State state) { state_ = std::move(state); }

  /// Forgets the readings, not the known signals: the weights were moved by other means than
  /// training.
  void interrupt() { state_.readings.clear(); }

 private:
  DetectorOptions options_;
  State state_;
};

/// Mean of the per-probe cosines: the published signal. NaN for none.
double mean_cosine(const std::vector<double>& cosines);

}  // namespace leapverify

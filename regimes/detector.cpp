#include <leapverify/regimes/detector.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace leapverify {
namespace {

/// Percentile with linear interpolation between the order statistics.
double percentile(const std::vector<double>& sorted, double percent) {
  const double position = percent / 100.0 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(position));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double fraction = position - std::floor(position);
  return sorted[below] + fraction * (sorted[above] - sorted[below]);
}

double signal_of(const CosineAtRate& measured, double largest_rate,
                 const DetectorOptions& options) {
  return options.per_rate ? cosine_at_rate(measured, largest_rate) : measured.cosine;
}

}  // namespace

void DetectorOptions::describe(FieldVisitor& visitor) {
  constexpr Range kAtMostOne{-std::numeric_limits<double>::infinity(), 1};
  visitor.choice("signal", signal,
                 "what tells the regime: the activations of the probes, or the moves between "
                 "snapshots, without a forward pass");
  visitor.field("per_rate", per_rate,
                "the signal as it would be at the largest learning rate so far, so that smaller "
                "steps alone do not calm it");
  visitor.choice("thresholds", thresholds,
                 "fixed numbers, or running percentiles of the signals seen so far");
  visitor.field("stable_at_least", stable_at_least, kAtMostOne,
                "fixed: signals at or above are stable; published for activation_cosine, "
                "calibrate-regimes gives a run's own");
  visitor.field("chaotic_at_most", chaotic_at_most, kAtMostOne,
                "fixed: signals at or below are chaotic");
  visitor.field("stable_percentile", stable_percentile, between(0, 100),
                "percentile: where stable begins");
  visitor.field("chaotic_percentile", chaotic_percentile, between(0, 100),
                "percentile: where chaotic ends");
  visitor.field("burn_in", burn_in, at_least(1),
                "percentile: signals to see before any reading but transition");
  visitor.field("hysteresis", hysteresis, at_least(1),
                "readings in a row before a more stable regime is believed");
}

std::vector<double> finite_signals(const std::vector<CosineAtRate>& measured, double largest_rate,
                                   const DetectorOptions& options) {
  std::vector<double> signals;
  for (const CosineAtRate& one : measured) {
    const double signal = signal_of(one, largest_rate, options);
    if (std::isfinite(signal)) signals.push_back(signal);
  }
  return signals;
}

Thresholds thresholds_of(const std::vector<double>& signals, const DetectorOptions& options) {
  if (static_cast<std::int64_t>(signals.size()) < options.burn_in) {
    const double none = std::numeric_limits<double>::quiet_NaN();
    return {none, none};
  }
  std::vector<double> sorted = signals;
  std::sort(sorted.begin(), sorted.end());
  return {percentile(sorted, options.stable_percentile),
          percentile(sorted, options.chaotic_percentile)};
}

Detector::Detector(const DetectorOptions& options) : options_(options) {
  validate_fields(options_);
  const auto require_below = [](double chaotic, double stable, const char* chaotic_name,
                                const char* stable_name) {
    if (chaotic >= stable) {
      throw InvalidOption(chaotic_name, number_text(chaotic),
                          std::string("less than ") + stable_name + " = " + number_text(stable));
    }
  };
  require_below(options_.chaotic_at_most, options_.stable_at_least, "chaotic_at_most",
                "stable_at_least");
  require_below(options_.chaotic_percentile, options_.stable_percentile, "chaotic_percentile",
                "stable_percentile");
}

Thresholds Detector::thresholds() const {
  if (options_.thresholds == ThresholdKind::kFixed) {
    return {options_.stable_at_least, options_.chaotic_at_most};
  }
  return thresholds_of(finite_signals(state_.measured, state_.largest_rate, options_), options_);
}

RegimeReading Detector::observe(double cosine, double rate) {
  const CosineAtRate measured{cosine, std::isfinite(rate) ? rate : 0};
  state_.largest_rate = std::max(state_.largest_rate, measured.rate);
  RegimeReading result;
  result.signal = signal_of(measured, state_.largest_rate, options_);
  result.thresholds = thresholds();
  if (!std::isfinite(result.signal) || result.signal <= result.thresholds.chaotic_at_most) {
    result.reading = Regime::kChaotic;
  } else if (result.signal >= result.thresholds.stable_at_least) {
    result.reading = Regime::kStable;
  }
  if (options_.thresholds == ThresholdKind::kPercentile && std::isfinite(result.signal)) {
    state_.measured.push_back(measured);
  }

  std::vector<Regime>& readings = state_.readings;
  readings.push_back(result.reading);
  if (static_cast<std::int64_t>(readings.size()) > options_.hysteresis) {
    readings.erase(readings.begin());
  }
  result.regime = regime();
  return result;
}

Regime Detector::regime() const {
  const std::vector<Regime>& readings = state_.readings;
  if (readings.empty()) return Regime::kTransition;
  const Regime least = *std::min_element(readings.begin(), readings.end());
  const bool enough = static_cast<std::int64_t>(readings.size()) >= options_.hysteresis;
  return enough ? least : std::min(least, Regime::kTransition);
}

}  // namespace leapverify

#include <leapverify/regimes/detector.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace leapverify {
namespace {

/// Percentile with linear interpolation between the order statistics.
double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double position = percent / 100.0 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(position));
  const std::size_t above = std::min(below + 1, values.size() - 1);
  const double fraction = position - std::floor(position);
  return values[below] + fraction * (values[above] - values[below]);
}

}  // namespace

void DetectorOptions::describe(FieldVisitor& visitor) {
  visitor.choice("thresholds", thresholds,
                 "fixed numbers, or running percentiles of the signals seen so far");
  visitor.field("stable_at_least", stable_at_least, between(-1, 1),
                "fixed: signals at or above are stable");
  visitor.field("chaotic_at_most", chaotic_at_most, between(-1, 1),
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

RegimeReading Detector::observe(double signal) {
  const bool fixed = options_.thresholds == ThresholdKind::kFixed;
  RegimeReading result;
  result.stable_at_least = options_.stable_at_least;
  result.chaotic_at_most = options_.chaotic_at_most;
  if (!fixed) {
    const bool known = static_cast<std::int64_t>(state_.signals.size()) >= options_.burn_in;
    const double none = std::numeric_limits<double>::quiet_NaN();
    result.stable_at_least = known ? percentile(state_.signals, options_.stable_percentile) : none;
    result.chaotic_at_most = known ? percentile(state_.signals, options_.chaotic_percentile) : none;
  }
  if (!std::isfinite(signal) || signal <= result.chaotic_at_most) {
    result.reading = Regime::kChaotic;
  } else if (signal >= result.stable_at_least) {
    result.reading = Regime::kStable;
  }
  if (!fixed && std::isfinite(signal)) state_.signals.push_back(signal);

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

double mean_cosine(const std::vector<double>& cosines) {
  if (cosines.empty()) return std::numeric_limits<double>::quiet_NaN();
  return std::accumulate(cosines.begin(), cosines.end(), 0.0) / static_cast<double>(cosines.size());
}

}  // namespace leapverify

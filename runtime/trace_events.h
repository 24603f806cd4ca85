// The events of the trace, and the parts of a checkpoint's state that are JSON. Internal: the
// schema for readers is docs/trace.md.
#pragma once

#include <leapverify/runtime/policy/forecast.h>
#include <leapverify/runtime/policy/options.h>
#include <leapverify/runtime/policy/value.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace leapverify {

struct ObservationEvent {
  std::int64_t step = 0;
  /// Absent when the cap on the overhead forbade the probe.
  std::optional<double> probe_loss;
  /// Absent at the first observations of a stretch.
  std::optional<RegimeReading> reading;
  /// What the signal was made of, with per_rate.
  std::optional<CosineAtRate> measured;
  Regime regime = Regime::kTransition;
  /// Horizons about to be tried, or why none are.
  std::vector<std::int64_t> horizons;
  std::string reason;
};

struct CandidateEvent {
  std::int64_t step = 0;
  /// Of a portfolio.
  std::optional<policy::PredictorKind> predictor;
  std::int64_t horizon = 0;
  std::int64_t non_finite = 0;
  std::uint64_t digest = 0;
  policy::Decision decision;
  /// Of each pair that the decision was taken on; empty unless they are traced.
  std::vector<double> reference_losses;
  std::vector<double> candidate_losses;
};

enum class LeapOutcome { kCommitted, kRejected, kShadow, kRateOnly };

template <>
struct EnumNames<LeapOutcome> {
  static constexpr Named<LeapOutcome> names[] = {{LeapOutcome::kCommitted, "committed"},
                                                 {LeapOutcome::kRejected, "rejected"},
                                                 {LeapOutcome::kShadow, "shadow"},
                                                 {LeapOutcome::kRateOnly, "rate_only"}};
};

struct LeapEvent {
  std::int64_t step = 0;
  LeapOutcome outcome = LeapOutcome::kRejected;
  /// Of the winner; 0 when there was none.
  std::int64_t horizon = 0;
  /// Of a leap, where it was measured.
  std::optional<policy::Value> value;
  /// Of a cascade, from 1; 0 without cascades.
  std::int64_t link = 0;
  std::int64_t forwards = 0;
  /// Of the run so far; absent where the rule bounds no chance.
  std::optional<double> false_accepts;
  double gate_passes = 0;
  std::uint64_t digest_before = 0;
  std::uint64_t digest_after = 0;
};

/// The average of now against the best one so far: it is better; neither was shown, which halves a rate that is no
/// longer on its way up; or it is worse.
enum class LookOutcome { kBetter, kNotShown, kSlowedDown, kWentBack };

template <>
struct EnumNames<LookOutcome> {
  static constexpr Named<LookOutcome> names[] = {{LookOutcome::kBetter, "better"},
                                                 {LookOutcome::kNotShown, "not_shown"},
                                                 {LookOutcome::kSlowedDown, "slowed_down"},
                                                 {LookOutcome::kWentBack, "went_back"}};
};

struct LookEvent {
  std::int64_t step = 0;
  LookOutcome outcome = LookOutcome::kNotShown;
  /// Of the best average so far, 0: where the run began.
  std::int64_t best_step = 0;
  /// Its reference is the average of now, its candidate the best one so far.
  policy::Decision decision;
  /// Of each pair that the decision was taken on; empty unless they are traced.
  std::vector<double> losses;
  std::vector<double> best_losses;
  std::int64_t forwards = 0;
  double gate_passes = 0;
  std::uint64_t digest_before = 0;
  std::uint64_t digest_after = 0;
};

/// What the decisions of a run rest on, as the text of a JSON object.
std::string settings_json(Options options, std::int64_t memory_bytes, double step_cost);
/// `start` at step 0, `resume` later.
std::string settings_event(std::int64_t step, const std::string& settings);
std::string to_json(const ObservationEvent& event);
std::string to_json(const CandidateEvent& event);
std::string to_json(const LeapEvent& event);
std::string to_json(const LookEvent& event);
std::string rate_event(std::int64_t step, double from, double to, const std::string& reason,
                       const policy::RateScale& rate);
std::string failure_event(std::int64_t step, const std::string& reason, std::int64_t forwards,
                          bool off);

nlohmann::json to_json_state(const Detector::State& state);
nlohmann::json to_json_state(const policy::Controller::State& state);
nlohmann::json to_json_state(const policy::LossCurve::State& state);
nlohmann::json to_json_state(const policy::RateScale::State& state);
nlohmann::json to_json_state(const policy::Forecast::State& state);
nlohmann::json to_json_state(const policy::Portfolio& portfolio);
Detector::State detector_state_from_json(const nlohmann::json& json);
policy::Controller::State controller_state_from_json(const nlohmann::json& json);
policy::LossCurve::State curve_state_from_json(const nlohmann::json& json);
policy::RateScale::State rate_state_from_json(const nlohmann::json& json);
policy::Forecast::State forecast_state_from_json(const nlohmann::json& json);
/// Records of the members of now; those that the run did not have before begin anew.
policy::Portfolio::State portfolio_state_from_json(const nlohmann::json& json,
                                                   const policy::Portfolio& portfolio);

}  // namespace leapverify

#include <leapverify/runtime/trace.h>
#include <leapverify/runtime/trace_events.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace leapverify {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

/// Non-finite numbers have no JSON form; they are traced as the strings "nan", "inf" and "-inf".
ordered_json number(double value) {
  if (std::isfinite(value)) return value;
  return number_text(value);
}

ordered_json numbers(const std::vector<double>& values) {
  ordered_json out = ordered_json::array();
  for (const double value : values) out.push_back(number(value));
  return out;
}

/// Digests as hexadecimal text: JSON readers keep 53 bits of a number only.
std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

/// Every option by its full name.
class OptionWriter : public FieldVisitor {
 public:
  explicit OptionWriter(ordered_json& out) : out_(out) {}

  void field(const std::string& name, std::int64_t& value, const Range&, const char*) override {
    out_[full(name)] = value;
  }
  void field(const std::string& name, double& value, const Range&, const char*) override {
    out_[full(name)] = number(value);
  }
  void field(const std::string& name, bool& value, const char*) override {
    out_[full(name)] = value;
  }
  void field(const std::string& name, std::string& value, const char*) override {
    out_[full(name)] = value;
  }
  void field(const std::string& name, std::vector<std::int64_t>& value, const Range&,
             const char*) override {
    out_[full(name)] = value;
  }
  void field(const std::string& name, std::vector<std::string>& value, const char*) override {
    out_[full(name)] = value;
  }
  void field(const std::string& name, const Choice& choice, const char*) override {
    out_[full(name)] = choice.get();
  }

 private:
  ordered_json& out_;
};

ordered_json event_at(const char* kind, std::int64_t step) {
  return {{"event", kind}, {"step", step}};
}

/// What losses were compared, where they were.
void add_decision(ordered_json& out, const policy::Decision& decision, const char* reference,
                  const char* candidate) {
  if (decision.pairs == 0) return;
  out[reference] = number(decision.reference_loss);
  out[candidate] = number(decision.candidate_loss);
  out["limit"] = number(decision.limit);
  out["pairs"] = decision.pairs;
  if (decision.capital_for) out["capital_for"] = number(*decision.capital_for);
  if (decision.capital_against) out["capital_against"] = number(*decision.capital_against);
}

/// What a try or a look took, and what it left.
template <class Event>
void add_end(ordered_json& out, const Event& event) {
  out["forwards"] = event.forwards;
  out["gate_passes"] = number(event.gate_passes);
  out["digest_before"] = hex(event.digest_before);
  out["digest_after"] = hex(event.digest_after);
}

json points_json(const std::vector<policy::LossPoint>& points) {
  json out = json::array();
  for (const policy::LossPoint& point : points) out.push_back({point.step, point.loss});
  return out;
}

std::vector<policy::LossPoint> points_from(const json& array) {
  std::vector<policy::LossPoint> points;
  for (const json& item : array) points.push_back({item.at(0), item.at(1)});
  return points;
}

}  // namespace

std::string settings_json(Options options, std::int64_t memory_bytes, double step_cost) {
  ordered_json settings;
  settings["schema"] = kTraceSchema;
  settings["planned_steps"] = options.planned_steps;
  settings["step_cost"] = step_cost;
  settings["memory_bytes"] = memory_bytes;
  ordered_json values;
  OptionWriter writer(values);
  options.describe(writer);
  settings["options"] = values;
  return settings.dump();
}

std::string settings_event(std::int64_t step, const std::string& settings) {
  ordered_json event = event_at(step == 0 ? "start" : "resume", step);
  event.update(ordered_json::parse(settings));
  return event.dump();
}

std::string to_json(const ObservationEvent& event) {
  ordered_json out = event_at("observation", event.step);
  if (event.probe_loss) out["probe_loss"] = number(*event.probe_loss);
  if (event.measured) {
    out["cosine"] = number(event.measured->cosine);
    out["rate"] = number(event.measured->rate);
  }
  if (event.reading) {
    out["signal"] = number(event.reading->signal);
    out["reading"] = name_of(event.reading->reading);
    out["stable_at_least"] = number(event.reading->thresholds.stable_at_least);
    out["chaotic_at_most"] = number(event.reading->thresholds.chaotic_at_most);
  }
  out["regime"] = name_of(event.regime);
  out["action"] = event.horizons.empty() ? "wait" : "try";
  if (event.horizons.empty()) {
    out["reason"] = event.reason;
  } else {
    out["horizons"] = event.horizons;
  }
  return out.dump();
}

std::string to_json(const CandidateEvent& event) {
  ordered_json out = event_at("candidate", event.step);
  if (event.predictor) out["predictor"] = name_of(*event.predictor);
  out["horizon"] = event.horizon;
  out["verdict"] = name_of(event.decision.verdict);
  out["reason"] = event.decision.reason;
  out["non_finite"] = event.non_finite;
  add_decision(out, event.decision, "reference_loss", "candidate_loss");
  if (!event.reference_losses.empty()) {
    out["reference_losses"] = numbers(event.reference_losses);
    out["candidate_losses"] = numbers(event.candidate_losses);
  }
  out["digest"] = hex(event.digest);
  return out.dump();
}

std::string to_json(const LookEvent& event) {
  ordered_json out = event_at("look", event.step);
  out["outcome"] = name_of(event.outcome);
  out["best_step"] = event.best_step;
  out["reason"] = event.decision.reason;
  add_decision(out, event.decision, "loss", "best_loss");
  if (!event.losses.empty()) {
    out["losses"] = numbers(event.losses);
    out["best_losses"] = numbers(event.best_losses);
  }
  add_end(out, event);
  return out.dump();
}

std::string to_json(const LeapEvent& event) {
  ordered_json out = event_at("leap", event.step);
  out["outcome"] = name_of(event.outcome);
  if (event.link > 0) out["link"] = event.link;
  if (event.outcome != LeapOutcome::kRejected) out["horizon"] = event.horizon;
  if (event.value) {
    out["gain"] = number(event.value->gain);
    out["gain_lower_bound"] = number(event.value->gain_lower_bound);
    out["fall_per_step"] = number(event.value->fall_per_step);
    out["steps_saved"] = number(event.value->steps_saved);
  }
  if (event.false_accepts) out["false_accepts"] = number(*event.false_accepts);
  add_end(out, event);
  return out.dump();
}

std::string rate_event(std::int64_t step, double from, double to, const std::string& reason,
                       const policy::RateScale& rate) {
  ordered_json out = event_at("rate", step);
  out["from"] = number(from);
  out["to"] = number(to);
  out["reason"] = reason;
  if (rate.free_value() > 0) out["rate"] = number(rate.free_value());
  if (rate.state().reach > 0) out["reach"] = number(rate.state().reach);
  if (rate.state().waypoints > 0) out["straightness"] = number(rate.state().straightness);
  return out.dump();
}

std::string failure_event(std::int64_t step, const std::string& reason, std::int64_t forwards,
                          bool off) {
  ordered_json out = event_at("failure", step);
  out["reason"] = reason;
  out["forwards"] = forwards;
  out["off"] = off;
  // Words of a user's exception need not be UTF-8.
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

json to_json_state(const Detector::State& state) {
  json readings = json::array();
  for (const Regime reading : state.readings) readings.push_back(static_cast<int>(reading));
  json measured = json::array();
  for (const CosineAtRate& one : state.measured) measured.push_back({one.cosine, one.rate});
  return {{"readings", readings}, {"measured", measured}, {"largest_rate", state.largest_rate}};
}

json to_json_state(const policy::Controller::State& state) {
  const policy::Ledger& ledger = state.ledger;
  return {{"probe_forwards", ledger.probe_forwards},
          {"verification_forwards", ledger.verification_forwards},
          {"raising_forwards", ledger.raising_forwards},
          {"steps_saved", ledger.steps_saved},
          {"tries", ledger.tries},
          {"candidates", ledger.candidates},
          {"accepted", ledger.accepted},
          {"looks", ledger.looks},
          {"went_back", ledger.went_back},
          {"false_accepts", ledger.false_accepts},
          {"rejections_in_row", state.rejections_in_row},
          {"observations_to_wait", state.observations_to_wait},
          {"links_left", state.links_left},
          {"next_link", state.next_link},
          {"link_horizon", state.link_horizon}};
}

json to_json_state(const policy::Forecast::State& state) {
  return {{"points", points_json(state.points)}, {"errors", state.errors}};
}

json to_json_state(const policy::Portfolio& portfolio) {
  json members = json::object();
  for (std::size_t i = 0; i < portfolio.members().size(); ++i) {
    const policy::Portfolio::Member& member = portfolio.state()[i];
    members[name_of(portfolio.members()[i].kind())] = {{"tries", member.tries},
                                                       {"wins", member.wins},
                                                       {"losses_in_row", member.losses_in_row},
                                                       {"tries_to_wait", member.tries_to_wait}};
  }
  return members;
}

json to_json_state(const policy::LossCurve::State& state) {
  return {{"first", points_json(state.first)}, {"points", points_json(state.points)}};
}

json to_json_state(const policy::RateScale::State& state) {
  return {{"scale", state.scale},
          {"base", state.base},
          {"has_risen", state.has_risen},
          {"misses", state.misses},
          {"refuted", state.refuted},
          {"annealed", state.annealed},
          {"largest", state.largest},
          {"scheduled", state.scheduled},
          {"observed", state.observed},
          {"reached", state.reached},
          {"climbs", state.climbs},
          {"changed", state.changed},
          {"hold", state.hold},
          {"next_hold", state.next_hold},
          {"distance", state.distance},
          {"held", state.held},
          {"told", state.told},
          {"reach", state.reach},
          {"found", state.found},
          {"unit", state.unit},
          {"path", state.path},
          {"waypoints", state.waypoints},
          {"straightness", state.straightness},
          {"ceiling", state.ceiling},
          {"lowest_slope", state.lowest_slope},
          {"slope", state.slope},
          {"felt", state.felt},
          {"fits", state.fits},
          {"begun_anew", state.begun_anew},
          {"shorter", state.shorter}};
}

Detector::State detector_state_from_json(const json& data) {
  Detector::State state;
  for (const json& reading : data.at("readings")) {
    state.readings.push_back(static_cast<Regime>(reading.get<int>()));
  }
  for (const json& one : data.at("measured")) state.measured.push_back({one.at(0), one.at(1)});
  state.largest_rate = data.at("largest_rate");
  return state;
}

policy::Controller::State controller_state_from_json(const json& data) {
  policy::Controller::State state;
  state.ledger.probe_forwards = data.at("probe_forwards");
  state.ledger.verification_forwards = data.at("verification_forwards");
  state.ledger.raising_forwards = data.at("raising_forwards");
  state.ledger.steps_saved = data.at("steps_saved");
  state.ledger.tries = data.at("tries");
  state.ledger.candidates = data.at("candidates");
  state.ledger.accepted = data.at("accepted");
  state.ledger.looks = data.at("looks");
  state.ledger.went_back = data.at("went_back");
  state.ledger.false_accepts = data.at("false_accepts");
  state.rejections_in_row = data.at("rejections_in_row");
  state.observations_to_wait = data.at("observations_to_wait");
  state.links_left = data.at("links_left");
  state.next_link = data.at("next_link");
  state.link_horizon = data.at("link_horizon");
  return state;
}

policy::Forecast::State forecast_state_from_json(const json& data) {
  return {points_from(data.at("points")), data.at("errors").get<std::vector<double>>()};
}

policy::Portfolio::State portfolio_state_from_json(const json& data,
                                                   const policy::Portfolio& portfolio) {
  policy::Portfolio::State state;
  for (const policy::Predictor& predictor : portfolio.members()) {
    policy::Portfolio::Member& member = state.emplace_back();
    const auto found = data.find(name_of(predictor.kind()));
    if (found == data.end()) continue;
    member = {found->at("tries"), found->at("wins"), found->at("losses_in_row"),
              found->at("tries_to_wait")};
  }
  return state;
}

policy::RateScale::State rate_state_from_json(const json& data) {
  policy::RateScale::State state;
  state.scale = data.at("scale");
  state.base = data.at("base");
  state.has_risen = data.at("has_risen");
  state.misses = data.at("misses");
  state.refuted = data.at("refuted");
  state.annealed = data.at("annealed");
  state.largest = data.at("largest").get<std::vector<double>>();
  state.scheduled = data.at("scheduled").get<std::vector<double>>();
  state.observed = data.at("observed").get<std::vector<double>>();
  state.reached = data.at("reached").get<std::vector<double>>();
  state.climbs = data.at("climbs");
  state.changed = data.at("changed");
  state.hold = data.at("hold");
  state.next_hold = data.at("next_hold");
  state.distance = data.at("distance");
  state.held = data.at("held");
  state.told = data.at("told");
  state.reach = data.at("reach");
  state.found = data.at("found");
  state.unit = data.at("unit");
  state.path = data.at("path");
  state.waypoints = data.at("waypoints");
  state.straightness = data.at("straightness");
  state.ceiling = data.at("ceiling");
  state.lowest_slope = data.at("lowest_slope");
  state.slope = data.at("slope");
  state.felt = data.at("felt");
  state.fits = data.at("fits");
  state.begun_anew = data.at("begun_anew");
  state.shorter = data.at("shorter");
  return state;
}

policy::LossCurve::State curve_state_from_json(const json& data) {
  return {points_from(data.at("first")), points_from(data.at("points"))};
}

}  // namespace leapverify

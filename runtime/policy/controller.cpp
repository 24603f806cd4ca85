#include <leapverify/runtime/policy/controller.h>

#include <algorithm>
#include <utility>

namespace leapverify::policy {

void ControllerOptions::describe(FieldVisitor& visitor) {
  visitor.field("horizons", horizons, at_least(1),
                "optimizer steps that a leap looks ahead, tried in ascending order; []: half of "
                "observe_every and its doublings");
  visitor.choice("least_regime", least_regime, "leaps are tried in this regime and in calmer ones");
  visitor.field("first_leap", first_leap, at_least(0), "no leap is tried before this step");
  visitor.field("max_overhead", max_overhead, above(0),
                "cap on probes and verification, as a share of the planned run; inf: no cap");
  visitor.field("savings_share", savings_share, between(0, 1),
                "share of the confirmed savings that is added to the cap");
  visitor.field("max_backoff", max_backoff, at_least(0),
                "most observations without a try after rejections");
  visitor.field(
      "cascade", cascade, at_least(1),
      "links of a cascade: after a leap of K steps the next is tried K steps later, while "
      "they verify");
}

Controller::Controller(ControllerOptions options) : options_(std::move(options)) {
  validate_fields(options_);
  std::vector<std::int64_t>& horizons = options_.horizons;
  std::sort(horizons.begin(), horizons.end());
  const auto twice = std::adjacent_find(horizons.begin(), horizons.end());
  if (twice != horizons.end()) {
    throw InvalidOption("horizons", std::to_string(*twice) + " given twice", "distinct horizons");
  }
  if (horizons.empty()) throw InvalidOption("horizons", "[]", "at least one horizon");
}

double Controller::budget(const Situation& situation) const {
  const double steps =
      static_cast<double>(situation.planned_steps > 0 ? situation.planned_steps : situation.step);
  return situation.step_cost *
         (options_.max_overhead * steps + options_.savings_share * state_.ledger.steps_saved);
}

bool Controller::affords(const Situation& situation, std::int64_t forwards) const {
  const std::int64_t counted = state_.ledger.forwards() - state_.ledger.raising_forwards;
  return static_cast<double>(counted + forwards) <= budget(situation);
}

std::string Controller::obstacle(const Situation& situation) const {
  if (situation.snapshots < situation.snapshots_needed) return "too few snapshots";
  if (situation.step < options_.first_leap) return "before the first leap";
  if (situation.planned_steps > 0 && situation.step >= situation.planned_steps) {
    return "the run ends here";
  }
  if (situation.gate_used_up) return "the gate set is used up";
  return "";
}

Action Controller::next(const Situation& situation) {
  const std::string reason = obstacle(situation);
  if (in_cascade()) {
    const bool affordable = affords(situation, situation.try_forwards);
    if (reason.empty() && affordable) return {{state_.link_horizon}, ""};
    end_cascade();
    return {{}, reason.empty() ? "overhead cap reached" : reason};
  }
  if (!reason.empty()) return {{}, reason};
  if (situation.regime < options_.least_regime) return {{}, "regime"};
  const auto first =
      std::lower_bound(options_.horizons.begin(), options_.horizons.end(), situation.least_horizon);
  if (first == options_.horizons.end()) return {{}, "the schedule climbs"};
  if (state_.observations_to_wait > 0) {
    --state_.observations_to_wait;
    return {{}, "back-off after rejections"};
  }
  if (!affords(situation, situation.try_forwards)) return {{}, "overhead cap reached"};
  return {{first, options_.horizons.end()}, ""};
}

void Controller::record(bool accepted) {
  ++state_.ledger.tries;
  if (accepted) {
    ++state_.ledger.accepted;
    state_.rejections_in_row = 0;
    state_.observations_to_wait = 0;
    return;
  }
  // 2^20 observations outlast any run; the bound keeps the shift defined.
  state_.rejections_in_row = std::min<std::int64_t>(state_.rejections_in_row + 1, 20);
  state_.observations_to_wait =
      std::min(options_.max_backoff, (std::int64_t{1} << state_.rejections_in_row) - 1);
}

std::int64_t Controller::record_link(std::int64_t step, std::int64_t horizon) {
  if (options_.cascade == 1) {
    // One of a run with other options may be under way.
    end_cascade();
    return 0;
  }
  const std::int64_t left_before = in_cascade() ? state_.links_left : options_.cascade;
  state_.links_left = horizon > 0 ? left_before - 1 : 0;
  state_.next_link = step + horizon;
  state_.link_horizon = horizon;
  return options_.cascade - left_before + 1;
}

void Controller::record_look_back() {
  ++state_.ledger.tries;
  state_.rejections_in_row = 0;
  state_.observations_to_wait = 0;
}

}  // namespace leapverify::policy

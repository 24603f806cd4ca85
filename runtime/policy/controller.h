// When to look and when to try: a pure function of the run's state, so that a rerun, a resumed run
// and all ranks decide alike. Costs are in deterministic units, never in seconds: one unit is the
// forward pass of one held-out sequence.
#pragma once

#include <leapverify/regimes/field.h>
#include <leapverify/regimes/regime.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leapverify::policy {

struct ControllerOptions {
  std::vector<std::int64_t> horizons;
  Regime least_regime = Regime::kChaotic;
  std::int64_t first_leap = 0;
  double max_overhead = 0.005;
  double savings_share = 0.25;
  std::int64_t max_backoff = 8;
  std::int64_t cascade = 1;

  void describe(FieldVisitor& visitor);
};

/// What the run has spent on looking and trying, and what that was worth.
struct Ledger {
  /// Forward passes of one sequence, by purpose.
  std::int64_t probe_forwards = 0;
  std::int64_t verification_forwards = 0;
  /// Those of tries that raised the learning rate, which the cap does not count.
  std::int64_t raising_forwards = 0;
  /// Sum over committed leaps of Value::steps_saved.
  double steps_saved = 0;
  std::int64_t tries = 0;
  std::int64_t candidates = 0;
  std::int64_t accepted = 0;
  /// With rate.looks, and after how many of them the run went back.
  std::int64_t looks = 0;
  std::int64_t went_back = 0;
  /// Upper bound of the expected number of candidates that were accepted though they gain nothing,
  /// looks back included: the sum of their chances, where the rule bounds them.
  double false_accepts = 0;

  std::int64_t forwards() const { return probe_forwards + verification_forwards; }
};

/// Where the run stands when the controller is asked.
struct Situation {
  std::int64_t step = 0;
  /// Steps of the whole run; 0 when not known.
  std::int64_t planned_steps = 0;
  /// Cost of a training step, in units.
  double step_cost = 0;
  Regime regime = Regime::kTransition;
  std::int64_t snapshots = 0;
  std::int64_t snapshots_needed = 0;
  /// Forwards without which a try decides nothing; what it may take beyond them it asks for.
  std::int64_t try_forwards = 0;
  /// Held-out sequences may not be used again.
  bool gate_used_up = false;
  /// Shorter horizons say nothing and are left out.
  std::int64_t least_horizon = 0;
};

struct Action {
  /// Horizons to try, ascending; empty means wait.
  std::vector<std::int64_t> horizons;
  /// Why not, when waiting.
  std::string reason;
};

/// Tries all horizons in ascending order when the regime allows it, the ledger can pay for it and
/// the last rejections are long enough ago: after n rejections in a row the next 2ⁿ − 1
/// observations in such a regime (at most max_backoff) pass without a try.
///
/// Cascades (arXiv 2602.19580): after a committed leap of K steps the next link of K is tried K
/// steps of training later, whatever the regime and the back-off, until `cascade` links are done or
/// one fails; until then nothing else is observed.
///
/// Budget: forwards − raising_forwards ≤ max_overhead · step_cost · planned_steps + savings_share · step_cost ·
/// steps_saved. Without planned steps, the steps done so far stand in for them. So a run in which
/// nothing verifies never costs more than max_overhead; a try that raised the rate has paid for
/// itself, and there are log(largest) ÷ log(growth) of them (÷ log(1.2) with a stride), and as many
/// more as the rate was lowered or a climbing schedule used up.
class Controller {
 public:
  /// Throws InvalidOption. Horizons are sorted; they must be distinct.
  explicit Controller(ControllerOptions options);

  /// Forwards that the cap allows for the whole run, as far as savings are known.
  double budget(const Situation& situation) const;

  /// Whether so many forwards can still be paid for.
  bool affords(const Situation& situation, std::int64_t forwards) const;

  /// Whether to observe after this step: at the next link of a cascade that goes on, else every
  /// `observe_every` steps.
  bool observes(std::int64_t step, std::int64_t observe_every) const {
    return in_cascade() ? step == state_.next_link : step % observe_every == 0;
  }

  /// To be asked once an observation.
  Action next(const Situation& situation);

  /// Books a finished try.
  void record(bool accepted);

  /// Books a try that ended with a look back that verified: there is no reason to look more rarely.
  void record_look_back();

  /// Books the leap that a try committed at `step`, 0 for none; to follow record(). Returns which link
  /// of a cascade it was, from 1; 0 without cascades.
  std::int64_t record_link(std::int64_t step, std::int64_t horizon);

  /// Ends a cascade that cannot go on.
  void end_cascade() { state_.links_left = 0; }

  const std::vector<std::int64_t>& horizons() const { return options_.horizons; }

  struct State {
    Ledger ledger;
    std::int64_t rejections_in_row = 0;
    std::int64_t observations_to_wait = 0;
    /// Of the cascade that goes on; 0 where none does.
    std::int64_t links_left = 0;
    std::int64_t next_link = 0;
    std::int64_t link_horizon = 0;
  };
  State& state() { return state_; }
  const State& state() const { return state_; }

 private:
  bool in_cascade() const { return state_.links_left > 0; }
  /// Why no try is to be made whatever the cascade; empty when one may be.
  std::string obstacle(const Situation& situation) const;

  ControllerOptions options_;
  State state_;
};

}  // namespace leapverify::policy

// Tries leaps: writes candidates, compares their held-out losses, and values the winner.
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/leap_verify_implementation.h>
#include <leapverify/runtime/momentum.h>
#include <leapverify/runtime/optimizer_state.h>
#include <leapverify/runtime/policy/statistics.h>
#include <leapverify/runtime/scaled_rates.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

namespace leapverify {

void LeapVerify::Implementation::try_leap(const std::vector<std::int64_t>& horizons) {
  LeapEvent event;
  event.step = step_;
  const std::int64_t forwards_before = ledger().forwards();
  SearchResult found;
  const std::optional<Point>& winner = found.winner;
  try {
    snapshots_->let_weights_change();
    LeapTransaction transaction(weights_, saved_weights_);
    if (!canary_passed_) {
      if (const std::string reason = canary(transaction); !reason.empty()) {
        transaction.roll_back();
        controller_.record(false);
        off_reason_ = reason;
        emit(failure_event(step_, reason, ledger().forwards() - forwards_before, /*off=*/true));
        return;
      }
      canary_passed_ = true;
    }
    event.digest_before = weights_.digest();
    found = search(horizons, transaction);
    if (winner) {
      event.horizon = winner->horizon;
      event.outcome = options_.mode == Mode::kShadow ? LeapOutcome::kShadow
                      : options_.leaps()             ? LeapOutcome::kCommitted
                                                     : LeapOutcome::kRateOnly;
      if (options_.leaps()) event.value = worth(*winner, transaction);
    }
    if (event.outcome == LeapOutcome::kCommitted) {
      land(*winner, transaction);
    } else {
      transaction.roll_back();
    }
    event.digest_after = weights_.digest();
  } catch (const std::exception& error) {
    controller_.record(false);
    fail(error_text(error), ledger().forwards() - forwards_before);
    return;
  }
  failures_in_row_ = 0;
  event.forwards = ledger().forwards() - forwards_before;
  if (found.looked_back) {
    controller_.record_look_back();
  } else {
    controller_.record(winner.has_value());
  }
  if (event.outcome == LeapOutcome::kCommitted) ledger().steps_saved += event.value->steps_saved;
  emit(to_json(event));
  if (winner && options_.adapts_rate()) move_rate(/*up=*/true);
}

std::string LeapVerify::Implementation::canary(LeapTransaction& transaction) {
  // Small enough to stay finite, large enough to show in the loss of a model in bfloat16.
  constexpr double kFactor = 1 + 1.0 / 16;
  std::vector<std::int64_t> sequences(kCanarySequences);
  std::iota(sequences.begin(), sequences.end(), 0);
  const std::vector<double> before = losses_of(sequences);
  transaction.scale(kFactor);
  const std::vector<double> disturbed = losses_of(sequences);
  transaction.roll_back();
  const std::vector<double> after = losses_of(sequences);
  if (before == disturbed) {
    return "canary: the evaluator's losses stay the same when all weights change; it must run the "
           "model that the optimizer trains, without caches of its weights";
  }
  // NaN equals NaN here: a model that is broken already is no fault of the evaluator.
  const bool back = std::equal(before.begin(), before.end(), after.begin(), [](double a, double b) {
    return a == b || (std::isnan(a) && std::isnan(b));
  });
  if (!back) {
    return "canary: the evaluator's losses differ between two calls with the same weights; it must "
           "be deterministic";
  }
  return "";
}

void LeapVerify::Implementation::land(const Point& winner, LeapTransaction& transaction) {
  if (average_) {
    const std::int64_t non_finite = transaction.move(*winner.prediction, *snapshots_);
    LV_CHECK(non_finite == 0, non_finite << " weights are not finite after the move that verified "
                                            "at the average");
    // What follows the weights is carried along, so that their direction stays known.
    shift(average_->tensors(), saved_weights_, weights_);
    snapshots_->shift(saved_weights_, weights_);
  } else {
    write(*winner.prediction, transaction);
  }
  transaction.commit();
  if (options_.moments == MomentPolicy::kScale) scale_moments(base_, options_.moment_scale);
  if (options_.moments == MomentPolicy::kReset) reset_state(base_);
  if (average_) {
    forget_readings();
    return;
  }
  // The jump is no part of the trajectory: history begins anew at the landing point.
  begin_stretch();
  snapshots_->record(step_);
}

void LeapVerify::Implementation::move_rate(bool up) {
  if (options_.mode != Mode::kLeap) return;
  const double from = rate_.value();
  if (!(up ? rate_.raise(observations_) : rate_.lower(observations_))) return;
  emit(rate_event(step_, from, rate_.value(),
                  up ? "a candidate verified" : "the weights have got worse"));
}

LeapVerify::Implementation::Point LeapVerify::Implementation::reference_point() const {
  if (!average_) return {};
  return {0, policy::Prediction{{1.0}, 1}, {}};
}

double LeapVerify::Implementation::longest_leap() const {
  double longest = std::numeric_limits<double>::infinity();
  if (std::isfinite(options_.trust_path)) longest = options_.trust_path * path_;
  if (!std::isfinite(options_.trust_norm)) return longest;
  return std::min(longest, options_.trust_norm * distance(origin(), nullptr));
}

std::int64_t LeapVerify::Implementation::write(const policy::Prediction& prediction,
                                               LeapTransaction& transaction) {
  if (!prediction.momentum_steps) return transaction.write(prediction, *snapshots_);
  const ScaledRates rates(base_, rate_scale());
  return transaction.write(
      momentum_ahead(base_, *prediction.momentum_steps, options_.predictor.half_moments));
}

std::int64_t LeapVerify::Implementation::place(const Point& point, Comparison& comparison) {
  comparison.placed = point.horizon;
  if (point.prediction) return write(*point.prediction, comparison.transaction);
  comparison.transaction.roll_back();
  return 0;
}

CandidateEvent LeapVerify::Implementation::place_candidate(const Point& point,
                                                           Comparison& comparison) {
  CandidateEvent event;
  event.step = step_;
  event.horizon = point.horizon;
  event.non_finite = place(point, comparison);
  event.digest = weights_.digest();
  ++ledger().candidates;
  return event;
}

void LeapVerify::Implementation::know_losses(Point& point, std::int64_t count,
                                             Comparison& comparison) {
  const auto known = static_cast<std::int64_t>(point.losses.size());
  if (known >= count) return;
  std::vector<std::int64_t>& sequences = comparison.sequences;
  const auto drawn = static_cast<std::int64_t>(sequences.size());
  if (drawn < count) {
    const std::vector<std::int64_t> more = next_gate_sequences(count - drawn);
    sequences.insert(sequences.end(), more.begin(), more.end());
  }
  if (comparison.placed != point.horizon) place(point, comparison);
  const std::vector<double> losses =
      losses_of({sequences.begin() + known, sequences.begin() + count});
  point.losses.insert(point.losses.end(), losses.begin(), losses.end());
}

policy::Decision LeapVerify::Implementation::compare(Point& reference, Point& candidate,
                                                     Comparison& comparison) {
  std::int64_t count = std::max(options_.verification.sequences, verifier_.pairs_needed());
  while (true) {
    count = std::min(count, verifier_.max_pairs());
    know_losses(candidate, count, comparison);
    know_losses(reference, count, comparison);
    policy::Decision decision =
        verifier_.decide({reference.losses.begin(), reference.losses.begin() + count},
                         {candidate.losses.begin(), candidate.losses.begin() + count});
    if (decision.verdict != policy::Verdict::kUndecided || count == verifier_.max_pairs()) {
      return decision;
    }
    count += options_.verification.sequences;
  }
}

void LeapVerify::Implementation::add_losses(CandidateEvent& event, const Point& reference,
                                            const Point& candidate) const {
  if (!options_.trace_losses) return;
  const auto compared = [&](const Point& point) -> std::vector<double> {
    return {point.losses.begin(), point.losses.begin() + event.decision.pairs};
  };
  event.reference_losses = compared(reference);
  event.candidate_losses = compared(candidate);
}

bool LeapVerify::Implementation::looked_back(Point& reference, Comparison& comparison) {
  const std::int64_t back = std::min(options_.rate.look_back, snapshots_->size() - 1);
  if (!options_.adapts_rate() || back < 1 || !rate_.looks_back(observations_)) return false;
  policy::Prediction earlier;
  earlier.coefficients.resize(static_cast<std::size_t>(back) + 1, 0.0);
  earlier.coefficients.back() = 1;
  const std::int64_t steps_back = step_ - snapshots_->steps()[static_cast<std::size_t>(back)];
  Point point{-steps_back, std::move(earlier), {}};
  CandidateEvent event = place_candidate(point, comparison);
  event.decision = compare(reference, point, comparison);
  add_losses(event, reference, point);
  emit(to_json(event));
  if (event.decision.verdict != policy::Verdict::kAccepted) return false;
  move_rate(/*up=*/false);
  return true;
}

LeapVerify::Implementation::SearchResult LeapVerify::Implementation::search(
    const std::vector<std::int64_t>& horizons, LeapTransaction& transaction) {
  policy::History history{
      snapshots_->steps(), {}, static_cast<std::int64_t>(weights_.tensors().size())};
  if (predictor_.needs_gram()) history.gram = snapshots_->gram(snapshots_->size());
  const std::int64_t batch = std::min(options_.verification.sequences, verifier_.max_pairs());
  if (options_.gate == GateSource::kFixed) gate_cursor_ = 0;
  Comparison comparison{transaction, next_gate_sequences(batch), std::nullopt};
  Point reference = reference_point();
  const auto& sequences = comparison.sequences;
  if (!average_ && sequences.back() < options_.probes) {
    reference.losses = {probe_losses_.begin() + sequences.front(),
                        probe_losses_.begin() + sequences.back() + 1};
  }
  know_losses(reference, batch, comparison);
  const double first_reference = policy::summarize(reference.losses).mean;
  if (options_.probes == 0) curve_.add(step_, first_reference);
  // A rule that tolerates some loss would let every link drift further from the last winner.
  const bool chained = options_.verification.rule == policy::Rule::kStrict ||
                       options_.verification.rule == policy::Rule::kSequential;

  std::optional<Point> winner;
  verifier_.remember(first_reference);
  if (looked_back(reference, comparison)) return {std::nullopt, true};
  const double longest = longest_leap();
  for (const std::int64_t horizon : horizons) {
    Point candidate{horizon, predictor_.predict(history, horizon), {}};
    CandidateEvent event = place_candidate(candidate, comparison);
    if (event.non_finite > 0) {
      event.decision.verdict = policy::Verdict::kRejected;
      event.decision.reason = "predicted weights are not finite";
    } else if (std::isfinite(longest) &&
               distance(weights_, average_ ? &average_->tensors() : &saved_weights_) > longest) {
      event.decision.verdict = policy::Verdict::kRejected;
      event.decision.reason = "beyond the trust region";
    } else {
      Point& best = winner && chained ? *winner : reference;
      event.decision = compare(best, candidate, comparison);
      add_losses(event, best, candidate);
    }
    emit(to_json(event));
    if (event.decision.verdict != policy::Verdict::kAccepted) break;
    winner = std::move(candidate);
  }
  return {std::move(winner), false};
}

policy::Value LeapVerify::Implementation::worth(const Point& winner, LeapTransaction& transaction) {
  // Sequences that had no part in the acceptance: the gain on those others is biased upwards.
  const std::vector<std::int64_t> sequences = next_gate_sequences(options_.verification.sequences);
  Comparison comparison{transaction, sequences, winner.horizon};
  const auto losses_at = [&](Point point) {
    point.losses.clear();
    place(point, comparison);
    return losses_of(sequences);
  };
  const std::vector<double> reference = losses_at(reference_point());
  const std::vector<double> candidate = losses_at(winner);
  const std::int64_t remaining =
      options_.planned_steps > 0 ? options_.planned_steps - step_ : winner.horizon;
  return policy::value_of_leap(reference, candidate, curve_.fall_per_step(), remaining);
}

}  // namespace leapverify

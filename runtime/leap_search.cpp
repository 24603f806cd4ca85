// Tries leaps: writes candidates, compares their held-out losses, and values the winner.
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/leap_verify_implementation.h>
#include <leapverify/runtime/momentum.h>
#include <leapverify/runtime/policy/statistics.h>

#include <algorithm>
#include <utility>

namespace leapverify {

void LeapVerify::Implementation::try_leap(const std::vector<std::int64_t>& horizons) {
  LeapEvent event;
  event.step = step_;
  const std::int64_t forwards_before = ledger().forwards();
  try {
    LeapTransaction transaction(weights_, saved_weights_);
    event.digest_before = weights_.digest();
    const std::optional<Point> winner = search(horizons, transaction);
    if (winner) {
      event.horizon = winner->horizon;
      event.value = worth(*winner, transaction);
    }
    event.outcome = !winner                          ? LeapOutcome::kRejected
                    : options_.mode == Mode::kShadow ? LeapOutcome::kShadow
                                                     : LeapOutcome::kCommitted;
    if (event.outcome == LeapOutcome::kCommitted) {
      transaction.commit();
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
  controller_.record(event.outcome != LeapOutcome::kRejected);
  if (event.outcome == LeapOutcome::kCommitted) land(event.value);
  emit(to_json(event));
}

std::int64_t LeapVerify::Implementation::write(const policy::Prediction& prediction,
                                               LeapTransaction& transaction) {
  if (!prediction.momentum_steps) return transaction.write(prediction, *snapshots_);
  return transaction.write(
      momentum_ahead(base_, *prediction.momentum_steps, options_.predictor.half_moments));
}

std::int64_t LeapVerify::Implementation::place(const Point& point, Comparison& comparison) {
  comparison.placed = point.horizon;
  if (point.prediction) return write(*point.prediction, comparison.transaction);
  comparison.transaction.roll_back();
  return 0;
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

std::optional<LeapVerify::Implementation::Point> LeapVerify::Implementation::search(
    const std::vector<std::int64_t>& horizons, LeapTransaction& transaction) {
  policy::History history{
      snapshots_->steps(), {}, static_cast<std::int64_t>(weights_.tensors().size())};
  if (predictor_.needs_gram()) history.gram = snapshots_->gram(snapshots_->size());
  const std::int64_t batch = options_.verification.sequences;
  if (options_.gate == GateSource::kFixed) gate_cursor_ = 0;
  Comparison comparison{transaction, next_gate_sequences(batch), 0};
  Point reference;
  if (const auto& sequences = comparison.sequences; sequences.back() < options_.probes) {
    reference.losses = {probe_losses_.begin() + sequences.front(),
                        probe_losses_.begin() + sequences.back() + 1};
  }
  know_losses(reference, batch, comparison);
  const double first_reference = policy::summarize(reference.losses).mean;
  // A rule that tolerates some loss would let every link drift further from the last winner.
  const bool chained = options_.verification.rule == policy::Rule::kStrict ||
                       options_.verification.rule == policy::Rule::kSequential;

  std::optional<Point> winner;
  for (const std::int64_t horizon : horizons) {
    CandidateEvent event;
    event.step = step_;
    event.horizon = horizon;
    Point candidate{horizon, predictor_.predict(history, horizon), {}};
    event.non_finite = place(candidate, comparison);
    event.digest = weights_.digest();
    ++ledger().candidates;
    if (event.non_finite > 0) {
      event.decision.verdict = policy::Verdict::kRejected;
      event.decision.reason = "predicted weights are not finite";
    } else {
      event.decision = compare(winner && chained ? *winner : reference, candidate, comparison);
    }
    emit(to_json(event));
    if (event.decision.verdict != policy::Verdict::kAccepted) break;
    winner = std::move(candidate);
  }
  verifier_.remember(first_reference);
  return winner;
}

policy::Value LeapVerify::Implementation::worth(const Point& winner, LeapTransaction& transaction) {
  // Sequences that had no part in the acceptance: the gain on those others is biased upwards.
  const std::vector<std::int64_t> sequences = next_gate_sequences(options_.verification.sequences);
  transaction.roll_back();
  const std::vector<double> reference = losses_of(sequences);
  write(*winner.prediction, transaction);
  const std::vector<double> candidate = losses_of(sequences);
  const std::int64_t remaining =
      options_.planned_steps > 0 ? options_.planned_steps - step_ : winner.horizon;
  return policy::value_of_leap(reference, candidate, curve_.fall_per_step(), remaining);
}

}  // namespace leapverify

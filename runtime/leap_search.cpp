// Tries leaps: searches for the best candidate, and lands there or goes back.
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/leap_verify_implementation.h>
#include <leapverify/runtime/policy/statistics.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace leapverify {

std::optional<std::int64_t> LeapVerify::Implementation::with_weights_lent(
    const std::function<void(LeapTransaction&)>& action) {
  const std::int64_t forwards_before = ledger().forwards();
  const auto forwards = [&] { return ledger().forwards() - forwards_before; };
  std::string refusal;
  try {
    replicas_.run([&] {
      if (snapshots_) snapshots_->let_weights_change();
      const Lent lent(weights_lent_);
      TensorList own;
      LeapTransaction transaction(weights_, backup(own), moves_buffers() ? &buffers_ : nullptr,
                                  &buffer_backup_);
      if (!canary_passed_) refusal = canary(transaction);
      canary_passed_ = refusal.empty();
      if (canary_passed_) action(transaction);
    });
  } catch (const CollectiveError&) {
    throw;
  } catch (const NotFinite& error) {
    emit(failure_event(step_, error_text(error), forwards(), /*off=*/false));
    return std::nullopt;
  } catch (const std::exception& error) {
    // What failed on one rank may have failed after others had landed.
    require_same_weights("weights after a try or look that failed at step ");
    fail(error_text(error), forwards());
    return std::nullopt;
  }
  if (!refusal.empty()) {
    off_reason_ = refusal;
    emit(failure_event(step_, off_reason_, forwards(), /*off=*/true));
    return std::nullopt;
  }
  failures_in_row_ = 0;
  return forwards();
}

void LeapVerify::Implementation::try_leap(const std::vector<std::int64_t>& horizons,
                                          const TrainingBatch* batch) {
  LeapEvent event;
  event.step = step_;
  SearchResult found;
  const std::optional<std::int64_t> forwards = with_weights_lent(
      [&](LeapTransaction& transaction) { found = try_with(horizons, batch, transaction, event); });
  if (!forwards) {
    controller_.record(false);
    controller_.end_cascade();
    return;
  }
  event.forwards = *forwards;
  const bool committed = event.outcome == LeapOutcome::kCommitted;
  if (committed) require_same_weights("weights after the leap at step ");
  const std::optional<Point>& winner = found.winner;
  if (found.looked_back) {
    controller_.record_look_back();
  } else {
    controller_.record(winner.has_value());
  }
  if (verifier_.false_accept_rate()) event.false_accepts = ledger().false_accepts;
  event.gate_passes = gate_passes();
  event.link = controller_.record_link(step_, committed ? event.horizon : 0);
  if (committed) ledger().steps_saved += event.value->steps_saved;
  emit(to_json(event));
  if (winner && options_.adapts_rate() && raise_rate(*winner)) {
    ledger().raising_forwards += event.forwards;
  }
  if (!winner && !found.looked_back && rate_.miss(found.refuted)) {
    trace_rate("nothing has verified");
  }
}

LeapVerify::Implementation::SearchResult LeapVerify::Implementation::try_with(
    const std::vector<std::int64_t>& horizons, const TrainingBatch* batch,
    LeapTransaction& transaction, LeapEvent& event) {
  event.digest_before = weights_.digest();
  SearchResult found = search(horizons, batch, transaction);
  if (found.winner) {
    event.horizon = found.winner->horizon;
    event.outcome = options_.mode == Mode::kShadow ? LeapOutcome::kShadow
                    : options_.leaps()             ? LeapOutcome::kCommitted
                                                   : LeapOutcome::kRateOnly;
    if (options_.leaps()) event.value = worth(*found.winner, transaction);
  }
  if (event.outcome == LeapOutcome::kCommitted) {
    land(*found.winner, transaction);
  } else {
    transaction.roll_back();
  }
  event.digest_after = weights_.digest();
  return found;
}

void LeapVerify::Implementation::land(const Point& winner, LeapTransaction& transaction) {
  TensorList statistics_before;
  if (statistics_snapshots_) {
    statistics_before = statistics_.allocate_like(TensorList::Precision::kSame);
    transaction.roll_back();
    statistics_before.copy_from(statistics_);
  }
  // First what a user's function may refuse, so that the leap can still be taken back.
  const std::optional<TrainingPosition> position = move_positions(winner.horizon);
  try {
    move_to(winner, transaction);
    // The last place to take it back, where another rank could not go there.
    replicas_.meet();
  } catch (...) {
    if (position) runner_->seek(*position);
    throw;
  }
  // What follows the weights is carried along, so that their direction stays known.
  if (average_) {
    snapshots_->shift(saved_weights_, weights_);
    if (statistics_snapshots_) statistics_snapshots_->shift(statistics_before, statistics_);
  }
  transaction.commit();
  not_on_one_rank_alone([&] {
    if (options_.moments == MomentPolicy::kScale) base_->scale_moments(options_.moment_scale);
    if (options_.moments == MomentPolicy::kReset) base_->reset_state();
    if (average_) {
      forget_readings();
      return;
    }
    // The jump is no part of the trajectory: history begins anew at the landing point.
    begin_stretch();
    record_snapshots();
  });
}

void LeapVerify::Implementation::require_same_weights(const std::string& when) {
  if (!replicated()) return;
  replicas_.require_same(when + std::to_string(step_), weights_.digest());
}

void LeapVerify::Implementation::not_on_one_rank_alone(const std::function<void()>& action) const {
  if (replicas_.size() == 1) return action();
  try {
    action();
  } catch (const CollectiveError&) {
    throw;
  } catch (const std::exception& error) {
    throw CollectiveError(error_text(error));
  }
}

std::optional<TrainingPosition> LeapVerify::Implementation::move_positions(std::int64_t steps) {
  const bool advances = options_.schedule == SchedulePolicy::kAdvance;
  const bool skips = options_.data == DataPolicy::kSkip;
  if (!advances && !skips) return std::nullopt;
  const TrainingPosition before = runner_->position();
  TrainingPosition position = before;
  if (advances) position.schedule += steps;
  if (skips) position.data += steps;
  runner_->seek(position);
  return before;
}

bool LeapVerify::Implementation::raise_rate(const Point& winner) {
  if (options_.mode != Mode::kLeap) return false;
  trace_rate("the schedule has climbed");
  const double full =
      rate_.state().scale * std::min(options_.rate.growth, std::max(kRoomForATry, rate_.room()));
  if (!rate_.raise(observations_, winner.horizon >= options_.far_horizon())) return false;
  trace_rate("a candidate verified");
  return rate_.state().scale >= full;
}

void LeapVerify::Implementation::lower_rate() {
  if (options_.mode != Mode::kLeap) return;
  trace_rate("the schedule has climbed");
  if (rate_.lower(observations_)) trace_rate("the weights have got worse");
}

void LeapVerify::Implementation::trace_rate(const char* reason) {
  if (rate_scale() == traced_rate_) return;
  emit(rate_event(step_, traced_rate_, rate_scale(), reason, rate_));
  traced_rate_ = rate_scale();
}

void LeapVerify::Implementation::add_losses(CandidateEvent& event, const Point& reference,
                                            const Point& candidate) const {
  if (!options_.trace_losses) return;
  event.reference_losses = reference.first_losses(event.decision.pairs);
  event.candidate_losses = candidate.first_losses(event.decision.pairs);
}

bool LeapVerify::Implementation::looked_back(Point& reference, Comparison& comparison) {
  const std::int64_t back = std::min(options_.rate.look_back, snapshots_->size() - 1);
  if (!options_.adapts_rate() || back < 1 || !rate_.looks_back(observations_)) return false;
  policy::Prediction earlier;
  earlier.coefficients.resize(static_cast<std::size_t>(back) + 1, 0.0);
  earlier.coefficients.back() = 1;
  const std::int64_t steps_back = step_ - snapshots_->steps()[static_cast<std::size_t>(back)];
  Point point{++comparison.points, -steps_back, std::move(earlier), {}};
  CandidateEvent event = place_candidate(point, comparison);
  event.decision = compare(reference, point, comparison);
  book_chance(event.decision);
  add_losses(event, reference, point);
  emit(to_json(event));
  if (event.decision.verdict != policy::Verdict::kAccepted) return false;
  lower_rate();
  return true;
}

LeapVerify::Implementation::SearchResult LeapVerify::Implementation::search(
    const std::vector<std::int64_t>& horizons, const TrainingBatch* batch,
    LeapTransaction& transaction) {
  const std::int64_t first = std::min(options_.verification.sequences, verifier_.max_pairs());
  if (options_.gate == GateSource::kFixed) gate_cursor_ = 0;
  LV_CHECK(batch == nullptr || batch_size_ >= verifier_.pairs_needed(),
           "a batch of " << batch_size_ << " sequences decides nothing: rule "
                         << name_of(options_.verification.rule) << " needs "
                         << verifier_.pairs_needed());
  Comparison comparison{transaction, batch, {}, std::nullopt};
  if (options_.batch_norm == BatchNormPolicy::kRecompute) {
    statistics_sequences_ = next_gate_sequences(options_.verification.sequences);
  }
  if (batch == nullptr) comparison.sequences = next_gate_sequences(first);
  Point reference = reference_point();
  const auto& sequences = comparison.sequences;
  if (!average_ && batch == nullptr && !races() && sequences.back() < options_.probes) {
    reference.losses = {probe_losses_.begin() + sequences.front(),
                        probe_losses_.begin() + sequences.back() + 1};
  }
  know_losses(reference, first, comparison);
  const double first_reference = policy::summarize(reference.losses).mean;
  if (!std::isfinite(first_reference)) {
    throw NotFinite(
        "a held-out loss is not finite where training is: it has diverged, or a sequence has "
        "nothing "
        "that counts");
  }
  if (options_.probes == 0) curve_.add(step_, first_reference);
  SearchResult result;
  result.looked_back = looked_back(reference, comparison);
  if (!result.looked_back) result = search_ahead(horizons, reference, comparison);
  // Only now: what `adaptive` tolerates follows from earlier tries.
  verifier_.remember(first_reference);
  return result;
}

LeapVerify::Implementation::SearchResult LeapVerify::Implementation::search_ahead(
    const std::vector<std::int64_t>& horizons, Point& reference, Comparison& comparison) {
  policy::History history{
      snapshots_->steps(), {}, static_cast<std::int64_t>(weights_.tensors().size())};
  if (portfolio_.needs_gram()) history.gram = gram(snapshots_->size());
  const double longest =
      options_.leaps() ? longest_leap() : std::numeric_limits<double>::infinity();
  const std::int64_t cost = judging_forwards(comparison.batch == nullptr ? 0 : batch_size_);
  const auto at_once = static_cast<std::ptrdiff_t>(candidates_at_once(comparison));
  std::vector<std::size_t> asked;
  SearchResult result;
  for (const std::size_t member : portfolio_.due()) {
    const policy::Predictor& predictor = portfolio_.members()[member];
    if (!affords(cost)) break;
    asked.push_back(member);
    bool accepted = true;
    for (auto next = horizons.begin(); next != horizons.end() && accepted && affords(cost);) {
      const auto end = next + std::min(at_once, horizons.end() - next);
      for (Point& candidate : candidates_of(predictor, history, {next, end}, comparison)) {
        accepted = accepts(candidate, predictor, longest, reference, result, comparison);
        if (!accepted) break;
        result.winner = std::move(candidate);
        result.member = member;
      }
      next = end;
    }
  }
  // Nothing is won in mode shadow, and whoever looks wants to see all.
  if (options_.mode != Mode::kShadow) portfolio_.record(asked, result.member);
  return result;
}

std::vector<LeapVerify::Implementation::Point> LeapVerify::Implementation::candidates_of(
    const policy::Predictor& predictor, const policy::History& history,
    const std::vector<std::int64_t>& horizons, Comparison& comparison) {
  std::vector<Point> candidates;
  for (const std::int64_t horizon : horizons) {
    candidates.push_back({++comparison.points, horizon, predictor.predict(history, horizon), {}});
  }
  if (candidates.size() > 1) know_side_by_side(candidates, comparison);
  return candidates;
}

bool LeapVerify::Implementation::accepts(Point& candidate, const policy::Predictor& predictor,
                                         double longest, Point& reference, SearchResult& result,
                                         Comparison& comparison) {
  std::optional<Point>& winner = result.winner;
  // A rule that tolerates some loss would let every link drift further from the last winner.
  const bool chained = options_.verification.rule == policy::Rule::kStrict ||
                       options_.verification.rule == policy::Rule::kSequential;
  CandidateEvent event = place_candidate(candidate, comparison);
  if (portfolio_.members().size() > 1) event.predictor = predictor.kind();
  if (event.non_finite > 0) {
    event.decision.verdict = policy::Verdict::kRejected;
    event.decision.reason = "predicted weights are not finite";
  } else if (candidate.placement->distance > longest) {
    event.decision.verdict = policy::Verdict::kRejected;
    event.decision.reason = "beyond the trust region";
  } else if (options_.verification.when == policy::When::kSettled) {
    event.decision = settle(candidate, winner ? &*winner : nullptr, comparison);
  } else {
    Point& best = winner && chained ? *winner : reference;
    event.decision = compare(best, candidate, comparison);
    add_losses(event, best, candidate);
  }
  book_chance(event.decision);
  emit(to_json(event));
  result.refuted = result.refuted || event.decision.refuted;
  return event.decision.verdict == policy::Verdict::kAccepted;
}

void LeapVerify::Implementation::book_chance(const policy::Decision& decision) {
  const std::optional<double> rate = verifier_.false_accept_rate();
  if (rate && decision.pairs > 0) ledger().false_accepts += *rate;
}

}  // namespace leapverify

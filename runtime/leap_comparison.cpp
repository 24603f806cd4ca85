// Places the points that a try compares, and compares their losses.
#include <leapverify/runtime/evaluation_scope.h>
#include <leapverify/runtime/leap_verify_implementation.h>
#include <leapverify/runtime/momentum.h>
#include <leapverify/runtime/policy/statistics.h>
#include <leapverify/runtime/rehearsal.h>
#include <leapverify/runtime/scaled_rates.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace leapverify {

std::string LeapVerify::Implementation::canary(LeapTransaction& transaction) {
  // Small enough to stay finite, large enough to show in the loss of a model in bfloat16.
  constexpr double kFactor = 1 + 1.0 / 16;
  const std::vector<std::int64_t> sequences = numbers_from(0, canary_sequences());
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

LeapVerify::Implementation::Point LeapVerify::Implementation::reference_point() const {
  if (!average_) return {};
  return {0, 0, policy::Prediction{{1.0}, 1}, {}};
}

std::vector<double> LeapVerify::Implementation::over_shards(std::vector<double> sums) const {
  base_->sum_over_shards(sums);
  return sums;
}

std::vector<double> LeapVerify::Implementation::gram(std::int64_t count) const {
  return over_shards(snapshots_->gram(count));
}

double LeapVerify::Implementation::whole_distance(const TensorList& a, const TensorList* b) const {
  const double here = distance(a, b);
  return std::sqrt(over_shards({here * here}).front());
}

std::int64_t LeapVerify::Implementation::whole_count(std::int64_t here) const {
  return static_cast<std::int64_t>(over_shards({static_cast<double>(here)}).front());
}

double LeapVerify::Implementation::longest_leap() const {
  double longest = std::numeric_limits<double>::infinity();
  if (std::isfinite(options_.trust_path)) longest = options_.trust_path * path_;
  if (!std::isfinite(options_.trust_norm)) return longest;
  return std::min(longest, options_.trust_norm * whole_distance(origin(), nullptr));
}

std::int64_t LeapVerify::Implementation::write(const policy::Prediction& prediction,
                                               LeapTransaction& transaction) {
  if (!prediction.momentum_steps) return transaction.write(prediction, *snapshots_);
  const ScaledRates rates(*base_, rate_scale());
  return transaction.write(
      momentum_ahead(*base_, *prediction.momentum_steps, options_.predictor.half_moments));
}

std::int64_t LeapVerify::Implementation::place(const Point& point, Comparison& comparison) {
  comparison.placed = point.id;
  if (point.weights != nullptr) {
    place_given(*point.weights, comparison);
    if (point.buffers != nullptr) buffers_.copy_from(*point.buffers);
    return 0;
  }
  if (!point.prediction) {
    comparison.transaction.roll_back();
    if (options_.batch_norm == BatchNormPolicy::kRecompute) {
      // Both sides with statistics from the same sequences.
      comparison.transaction.let_change();
      recompute_batch_norm();
    }
    return 0;
  }
  const std::int64_t non_finite = whole_count(write(*point.prediction, comparison.transaction));
  write_batch_norm(*point.prediction);
  return non_finite;
}

void LeapVerify::Implementation::place_given(const TensorList& weights, Comparison& comparison) {
  if (!average_) {
    comparison.transaction.write(weights);
  } else {
    // As far from the average as they are from the weights.
    comparison.transaction.write(average_->tensors());
    shift(weights_, saved_weights_, weights);
  }
}

void LeapVerify::Implementation::write_batch_norm(const policy::Prediction& prediction) {
  if (options_.batch_norm == BatchNormPolicy::kExtrapolate) {
    statistics_snapshots_->combine(statistics_, prediction.coefficients, 1);
    const torch::NoGradGuard no_grad;
    for (at::Tensor& variance : model_->running_variances()) variance.clamp_min_(0);
  }
  if (options_.batch_norm == BatchNormPolicy::kRecompute) recompute_batch_norm();
}

void LeapVerify::Implementation::recompute_batch_norm() {
  ledger().verification_forwards += recomputing_forwards();
  const std::unique_ptr<StatisticsCollection> collection = model_->collect_statistics();
  const EvaluationScope scope(*model_, buffers_, saved_buffers_, weights_.torch_device());
  collection->start();
  evaluator_.evaluate(statistics_sequences_, /*activations=*/false);
  LV_CHECK(collection->complete(),
           "batch_norm: recompute: the evaluator puts the model into evaluation mode itself");
  // What the scope puts back at its end.
  saved_buffers_.copy_from(buffers_);
}

LeapVerify::Implementation::Placement LeapVerify::Implementation::measure(const Point& point,
                                                                          Comparison& comparison) {
  Placement placement;
  placement.non_finite = place(point, comparison);
  placement.digest = weights_.digest();
  if (options_.leaps() && options_.has_trust_region()) {
    placement.distance =
        whole_distance(weights_, average_ ? &average_->tensors() : &saved_weights_);
  }
  return placement;
}

CandidateEvent LeapVerify::Implementation::place_candidate(Point& point, Comparison& comparison) {
  if (!point.placement) point.placement = measure(point, comparison);
  CandidateEvent event;
  event.step = step_;
  event.horizon = point.horizon;
  event.non_finite = point.placement->non_finite;
  event.digest = point.placement->digest;
  ++ledger().candidates;
  return event;
}

std::int64_t LeapVerify::Implementation::candidates_at_once(const Comparison& comparison) const {
  const bool apart = comparison.batch == nullptr && replicated() &&
                     options_.verification.when == policy::When::kImmediate &&
                     options_.batch_norm == BatchNormPolicy::kKeep;
  return apart ? replicas_.points_at_once(evaluator_, first_helping()) : 1;
}

void LeapVerify::Implementation::know_side_by_side(std::vector<Point>& candidates,
                                                   Comparison& comparison) {
  const auto count = static_cast<std::size_t>(first_helping());
  draw_sequences(first_helping(), comparison);
  const auto ranks_each = static_cast<std::size_t>(replicas_.size()) / candidates.size();
  const std::size_t own = static_cast<std::size_t>(replicas_.rank()) / ranks_each;
  const std::size_t member = static_cast<std::size_t>(replicas_.rank()) % ranks_each;
  // Of each candidate: what is known of its placement, with the digest's halves, and its losses.
  constexpr std::size_t kFacts = 4;
  const std::size_t width = kFacts + count;
  std::vector<double> all(candidates.size() * width);
  if (own < candidates.size()) {
    double* row = all.data() + own * width;
    const Placement placement = measure(candidates[own], comparison);
    if (member == 0) {
      row[0] = static_cast<double>(placement.non_finite);
      row[1] = static_cast<double>(placement.digest >> 32);
      row[2] = static_cast<double>(placement.digest & 0xffffffff);
      row[3] = placement.distance;
    }
    if (member < count) {
      const EvaluationScope scope(*model_, buffers_, saved_buffers_, weights_.torch_device());
      const Evaluation result =
          evaluator_.evaluate({comparison.sequences[member]}, /*activations=*/false);
      LV_CHECK(result.losses.defined() && result.losses.numel() == 1,
               "the evaluator must return one loss for each of 1 sequences");
      row[kFacts + member] = to_host(result.losses).front();
    }
  }
  ledger().verification_forwards += replicas_.size();
  all = replicas_.sum(std::move(all));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const double* row = all.data() + i * width;
    Placement placement;
    placement.non_finite = static_cast<std::int64_t>(row[0]);
    placement.digest =
        (static_cast<std::uint64_t>(row[1]) << 32) + static_cast<std::uint64_t>(row[2]);
    placement.distance = row[3];
    candidates[i].placement = placement;
    candidates[i].losses.assign(row + kFacts, row + width);
  }
  // Each rank holds another.
  comparison.placed.reset();
}

void LeapVerify::Implementation::draw_sequences(std::int64_t count, Comparison& comparison) {
  std::vector<std::int64_t>& sequences = comparison.sequences;
  const auto drawn = static_cast<std::int64_t>(sequences.size());
  if (drawn >= count) return;
  const std::vector<std::int64_t> more = next_gate_sequences(count - drawn);
  sequences.insert(sequences.end(), more.begin(), more.end());
}

std::vector<double> LeapVerify::Implementation::batch_losses(const TrainingBatch& batch) {
  const EvaluationScope scope(*model_, buffers_, saved_buffers_, weights_.torch_device(),
                              EvaluationScope::Mode::kAsItIs);
  ledger().verification_forwards += batch_size_;
  const at::Tensor losses = batch.losses();
  LV_CHECK(losses.defined() && losses.dim() == 1 && losses.size(0) == batch.sequences,
           "a batch of " << batch.sequences << " sequences must give one loss for each");
  return replicas_.concatenate(to_host(losses));
}

std::vector<double> LeapVerify::Implementation::losses_after_training(
    const Point& point, const std::vector<std::int64_t>& sequences, bool at_average,
    Comparison& comparison) {
  LeapTransaction& transaction = comparison.transaction;
  transaction.roll_back();
  comparison.placed.reset();
  const TensorList* average = average_ ? &average_->tensors() : nullptr;
  std::vector<double> losses;
  {
    Rehearsal rehearsal(*base_, *model_, weights_, buffers_, average, *runner_);
    if (point.id != 0) move_to(point, transaction);
    transaction.let_change();
    const std::int64_t steps = options_.verification.settle_steps;
    policy::RateScale rate = rate_;
    ledger().verification_forwards += rehearsal_forwards();
    for (std::int64_t i = 0; i < steps; ++i) {
      {
        const at::AutoGradMode with_gradients(true);
        // It may sum gradients over the ranks.
        not_on_one_rank_alone([&] { runner_->backward(); });
      }
      rate.follow(base_->learning_rates(), share_left(step_ + i));
      const ScaledRates rates(*base_, in_force(rate));
      base_->step(nullptr);
      if (average_) average_->update();
    }
    if (average != nullptr && at_average) transaction.write(*average);
    losses = losses_of(sequences);
    transaction.roll_back();
    rehearsal.end();
  }
  return losses;
}

std::int64_t LeapVerify::Implementation::rehearsal_forwards() const {
  return static_cast<std::int64_t>(
      std::ceil(static_cast<double>(options_.verification.settle_steps) * step_cost()));
}

void LeapVerify::Implementation::move_to(const Point& point, LeapTransaction& transaction) {
  if (!average_) {
    write(*point.prediction, transaction);
  } else {
    const std::int64_t non_finite = whole_count(transaction.move(*point.prediction, *snapshots_));
    LV_CHECK(non_finite == 0, non_finite << " weights are not finite after the move that verified "
                                            "at the average");
  }
  write_batch_norm(*point.prediction);
  // Last, since nothing takes it back where the rest fails.
  if (average_) shift(average_->tensors(), saved_weights_, weights_);
}

std::int64_t LeapVerify::Implementation::forwards_to_know(std::int64_t known, std::int64_t count,
                                                          std::int64_t batch) const {
  if (known >= count) return 0;
  std::int64_t forwards = std::max(forwards_of(count - known), batch);
  if (races()) forwards = forwards_of(verifier_.max_pairs()) + rehearsal_forwards();
  // Statistics are made anew wherever a point is placed.
  return forwards + recomputing_forwards();
}

std::int64_t LeapVerify::Implementation::judging_forwards(std::int64_t batch) const {
  if (options_.verification.when == policy::When::kSettled) {
    return rehearsal_forwards() + forwards_of(options_.probes) + 2 * recomputing_forwards();
  }
  return forwards_to_know(0, first_helping(), batch) + recomputing_forwards();
}

void LeapVerify::Implementation::know_losses(Point& point, std::int64_t count,
                                             Comparison& comparison) {
  const auto known = static_cast<std::int64_t>(point.losses.size());
  if (known >= count) return;
  if (comparison.batch != nullptr) {
    if (comparison.placed != point.id) place(point, comparison);
    point.losses = batch_losses(*comparison.batch);
    return;
  }
  std::vector<std::int64_t>& sequences = comparison.sequences;
  // A race is run once, so all that may be asked about it is asked at its end.
  if (races()) count = verifier_.max_pairs();
  draw_sequences(count, comparison);
  if (races()) {
    point.losses = losses_after_training(point, sequences, /*at_average=*/true, comparison);
    return;
  }
  if (comparison.placed != point.id) place(point, comparison);
  const std::vector<double> losses =
      losses_of({sequences.begin() + known, sequences.begin() + count});
  point.losses.insert(point.losses.end(), losses.begin(), losses.end());
}

policy::Decision LeapVerify::Implementation::compare(Point& reference, Point& candidate,
                                                     Comparison& comparison, std::int64_t reserve) {
  const bool on_batch = comparison.batch != nullptr;
  const std::int64_t most =
      on_batch ? std::min(verifier_.max_pairs(), batch_size_) : verifier_.max_pairs();
  std::int64_t count = std::min(first_helping(), most);
  const auto missing = [&](const Point& point) {
    return forwards_to_know(static_cast<std::int64_t>(point.losses.size()), count,
                            on_batch ? batch_size_ : 0);
  };
  policy::Decision decision;
  decision.verdict = policy::Verdict::kRejected;
  decision.reason = "overhead cap reached";
  while (affords(missing(candidate) + missing(reference) + reserve)) {
    know_losses(candidate, count, comparison);
    know_losses(reference, count, comparison);
    decision = verifier_.decide({reference.losses.begin(), reference.losses.begin() + count},
                                {candidate.losses.begin(), candidate.losses.begin() + count});
    if (decision.verdict != policy::Verdict::kUndecided) return decision;
    decision.verdict = policy::Verdict::kRejected;
    decision.reason = count == most ? "no gain was shown within the batch" : "overhead cap reached";
    if (count == most) break;
    count = std::min(count + options_.verification.sequences, most);
  }
  return decision;
}

policy::Decision LeapVerify::Implementation::settle(Point& candidate, const Point* winner,
                                                    Comparison& comparison) {
  policy::Decision decision;
  decision.verdict = policy::Verdict::kRejected;
  decision.reason = "overhead cap reached";
  const std::int64_t then = step_ + options_.verification.settle_steps;
  const std::optional<double> limit = forecast_.limit(then, verifier_.alpha());
  if (!limit) {
    decision.reason = "too few forecasts to judge by";
    return decision;
  }
  if (!affords(judging_forwards(0))) return decision;
  candidate.losses = losses_after_training(candidate, numbers_from(0, options_.probes),
                                           /*at_average=*/false, comparison);
  decision.pairs = options_.probes;
  decision.candidate_loss = policy::summarize(candidate.losses).mean;
  decision.reference_loss = *forecast_.at(then);
  decision.limit = *limit;
  if (!(decision.candidate_loss < *limit)) {
    decision.reason = "not below what forecasts reach by chance";
  } else if (winner != nullptr &&
             decision.candidate_loss >= policy::summarize(winner->losses).mean) {
    decision.reason = "no better than the shorter leap";
  } else {
    decision.verdict = policy::Verdict::kAccepted;
    decision.reason = "below what forecasts reach by chance";
  }
  return decision;
}

policy::Value LeapVerify::Implementation::worth(const Point& winner, LeapTransaction& transaction) {
  // Sequences that had no part in the acceptance: the gain on those others is biased upwards.
  const std::vector<std::int64_t> sequences = next_gate_sequences(options_.verification.sequences);
  Comparison comparison{transaction, nullptr, sequences, std::nullopt};
  const auto losses_at = [&](const Point& point) {
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

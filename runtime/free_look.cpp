// What a run whose learning rate is free goes back to: where its first steps went too far to where it began,
// and later, where held-out sequences do not show that its average gets better, more slowly on or to the best.
#include <leapverify/runtime/leap_verify_implementation.h>

#include <algorithm>
#include <cmath>

namespace leapverify {

void LeapVerify::Implementation::make_room_for_average() {
  if (!kept_average_.empty()) return;
  kept_average_ = weights_.allocate_like(TensorList::Precision::kAtLeastFloat32);
  kept_buffers_ = buffers_.allocate_like(TensorList::Precision::kSame);
}

void LeapVerify::Implementation::keep_average() {
  make_room_for_average();
  kept_average_.copy_from(iterates_->average());
  kept_buffers_.copy_from(buffers_);
  kept_total_ = iterates_->total();
  kept_step_ = step_;
}

void LeapVerify::Implementation::release_average() {
  if (keeps_average() || kept_average_.empty()) return;
  kept_average_ = kept_buffers_ = TensorList();
  kept_step_.reset();
}

double LeapVerify::Implementation::slope_of_way() {
  const std::vector<at::Tensor> all = base_->gradients();
  std::vector<at::Tensor> gradients;
  std::vector<at::Tensor> matrices;
  gradients.reserve(matrix_of_.size());
  matrices.reserve(matrix_of_.size());
  for (const std::size_t i : matrix_of_) {
    gradients.push_back(all[i]);
    matrices.push_back(weights_.tensors()[i]);
  }
  const double slope = over_shards({path_sample_->slope(gradients, matrices)}).front();
  // Gradients may still differ where the base optimizer sums them up itself.
  return replicated() ? replicas_.sum({slope}).front() / replicas_.size() : slope;
}

void LeapVerify::Implementation::begin_anew() {
  iterates_->go_to(kept_average_, kept_total_);
  buffers_.copy_from(kept_buffers_);
  path_sample_->forget();
  path_sample_->begin();
  trace_rate("the first steps went too far: begun anew with half of the stride");
}

std::int64_t LeapVerify::Implementation::looks_of_run() const {
  const double left = controller_.budget(situation()) - static_cast<double>(forwards_of_canary());
  const double least = left < static_cast<double>(forwards_of_look(first_helping())) ? 0 : 1;
  const double affordable = std::floor(left / static_cast<double>(forwards_of_usual_look()));
  return static_cast<std::int64_t>(
      std::clamp(affordable, least, static_cast<double>(options_.rate.looks)));
}

std::int64_t LeapVerify::Implementation::looks_until(std::int64_t step) const {
  const double done = static_cast<double>(step) / static_cast<double>(last_step());
  return static_cast<std::int64_t>(static_cast<double>(looks_of_run()) * std::sqrt(done));
}

bool LeapVerify::Implementation::look_is_due() const {
  if (!looks() || !off_reason_.empty() || situation().gate_used_up) return false;
  if (step_ > last_step() || looks_until(step_) == looks_until(step_ - 1)) return false;
  // A run with other options before may have used it up.
  return affords(forwards_of_look(first_helping()) + (canary_passed_ ? 0 : forwards_of_canary()));
}

void LeapVerify::Implementation::look_at_run() {
  LookEvent event;
  event.step = step_;
  event.best_step = *kept_step_;
  const double rate = rate_.free_value();
  const std::optional<std::int64_t> forwards =
      with_weights_lent([&](LeapTransaction& transaction) { look_with(transaction, event); });
  if (!forwards) return;
  const bool went_back = event.outcome == LookOutcome::kWentBack;
  if (went_back) require_same_weights("weights after the look at step ");
  ++ledger().looks;
  if (went_back) ++ledger().went_back;
  event.forwards = *forwards;
  event.gate_passes = gate_passes();
  emit(to_json(event));
  if (rate != rate_.free_value()) {
    trace_rate(went_back ? "an earlier average is better" : "no better average was shown");
  }
}

void LeapVerify::Implementation::look_with(LeapTransaction& transaction, LookEvent& event) {
  event.digest_before = weights_.digest();
  Comparison comparison{transaction, nullptr, {}, std::nullopt};
  Point now{0, 0, std::nullopt, {}, &iterates_->average(), &buffer_backup_};
  Point best{1, 0, std::nullopt, {}, &kept_average_, &kept_buffers_};
  know_losses(now, std::min(first_helping(), verifier_.max_pairs()), comparison);
  event.decision = judge_look(now, best, comparison);
  if (event.decision.verdict == policy::Verdict::kAccepted) {
    event.outcome = LookOutcome::kWentBack;
  } else if (event.decision.refuted) {
    event.outcome = LookOutcome::kBetter;
  }
  if (options_.trace_losses) {
    event.losses = now.first_losses(event.decision.pairs);
    event.best_losses = best.first_losses(event.decision.pairs);
  }
  follow_look(event, transaction);
  event.digest_after = weights_.digest();
}

policy::Decision LeapVerify::Implementation::judge_look(Point& now, Point& best,
                                                        Comparison& comparison) {
  const std::int64_t to_come = looks_of_run() - looks_until(step_);
  policy::Decision decision = compare(now, best, comparison, to_come * forwards_of_usual_look());
  if (decision.pairs == 0) return decision;
  const bool now_is_finite = std::isfinite(decision.reference_loss);
  const bool best_is_finite = std::isfinite(decision.candidate_loss);
  if (!now_is_finite && !best_is_finite) {
    throw NotFinite("neither of the compared held-out losses is finite");
  }
  if (!now_is_finite) {
    decision.verdict = policy::Verdict::kAccepted;
    decision.reason = "the loss of now is not finite";
  } else if (!best_is_finite) {
    decision.refuted = true;
    decision.reason = "the best loss is not finite";
  } else if (decision.verdict == policy::Verdict::kAccepted) {
    decision.reason = "the capital betted on the best so far reached 1 / alpha";
  } else if (decision.refuted) {
    decision.reason = "the capital betted on the average of now reached 1 / alpha";
  } else if (to_come == 0) {
    // Nothing is lost by it where the run ends.
    decision.reason = "the lower loss, where the run ends";
    const bool best_is_lower = decision.candidate_loss < decision.reference_loss;
    if (best_is_lower) decision.verdict = policy::Verdict::kAccepted;
    decision.refuted = !best_is_lower;
  } else {
    decision.reason = "not certain yet: " + decision.reason;
  }
  return decision;
}

void LeapVerify::Implementation::follow_look(LookEvent& event, LeapTransaction& transaction) {
  if (event.outcome == LookOutcome::kWentBack) {
    go_back(!std::isfinite(event.decision.reference_loss), transaction);
    return;
  }
  transaction.roll_back();
  if (event.outcome == LookOutcome::kBetter) {
    // A stride that makes it better than the start is not too long.
    rate_.fit_stride();
    keep_average();
  } else if (event.decision.pairs > 0 && slow_down()) {
    event.outcome = LookOutcome::kSlowedDown;
  }
}

bool LeapVerify::Implementation::slow_down() {
  // A rate that is still on its way up says nothing of that where it would end.
  if (rate_.climbs_to_stride()) return false;
  const double factor = rate_.slow_down();
  // Iterates weigh by the square of their rate: those to come would not be heard among those of before.
  iterates_->reweigh(factor * factor);
  kept_total_ *= factor * factor;
  return true;
}

void LeapVerify::Implementation::go_back(bool has_diverged, LeapTransaction& transaction) {
  transaction.write(kept_average_);
  buffers_.copy_from(kept_buffers_);
  replicas_.meet();
  not_on_one_rank_alone([&] {
    iterates_->go_to(kept_average_, kept_total_);
    transaction.commit();
    if (path_sample_) {
      path_sample_->start_average();
      // What it has walked since remains part of the way.
      path_sample_->take();
    }
    // Moments that are no numbers would spoil the weights again.
    if (has_diverged) base_->reset_state();
    rate_.go_back(step_);
    slow_down();
  });
}

}  // namespace leapverify

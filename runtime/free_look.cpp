// Looks at a run whose learning rate is free: where its average of the look before is better on
// held-out sequences than that of now, the run goes back to it.
#include <leapverify/runtime/leap_verify_implementation.h>
#include <leapverify/runtime/policy/statistics.h>

#include <algorithm>
#include <cmath>

namespace leapverify {

void LeapVerify::Implementation::keep_average() {
  kept_average_.copy_from(iterates_->average());
  kept_buffers_.copy_from(buffers_);
  kept_total_ = iterates_->total();
  kept_step_ = step_;
}

std::int64_t LeapVerify::Implementation::looks_of_run() const {
  const std::int64_t usual = std::min(3 * first_helping(), verifier_.max_pairs());
  const double left = controller_.budget(situation()) - static_cast<double>(forwards_of_canary());
  const double affordable = std::floor(left / static_cast<double>(forwards_of_look(usual)));
  return static_cast<std::int64_t>(
      std::clamp(affordable, 0.0, static_cast<double>(options_.rate.looks)));
}

bool LeapVerify::Implementation::look_is_due() const {
  if (!looks() || !off_reason_.empty()) return false;
  const std::int64_t planned = options_.planned_steps;
  // Each is at the end of its part of the run, and the last at the end of the run.
  const std::int64_t looks = looks_of_run();
  return step_ <= planned && step_ * looks / planned > (step_ - 1) * looks / planned &&
         !situation().gate_used_up;
}

bool LeapVerify::Implementation::looked_back_on_run(Point& reference, Comparison& comparison) {
  Point earlier{++comparison.points, *kept_step_ - step_, std::nullopt, {},
                &kept_average_,      &kept_buffers_};
  if (!has_diverged_) return is_better(earlier, reference, comparison);
  CandidateEvent event = place_candidate(earlier, comparison);
  know_losses(earlier, static_cast<std::int64_t>(reference.losses.size()), comparison);
  event.decision.pairs = static_cast<std::int64_t>(earlier.losses.size());
  event.decision.reference_loss = policy::summarize(reference.losses).mean;
  event.decision.candidate_loss = policy::summarize(earlier.losses).mean;
  const bool is_whole = std::isfinite(event.decision.candidate_loss);
  event.decision.verdict = is_whole ? policy::Verdict::kAccepted : policy::Verdict::kRejected;
  event.decision.reason =
      is_whole ? "the loss of now is not finite" : "neither of the losses is finite";
  emit(to_json(event));
  return is_whole;
}

void LeapVerify::Implementation::go_back(LeapTransaction& transaction) {
  transaction.write(kept_average_);
  buffers_.copy_from(kept_buffers_);
  replicas_.meet();
  not_on_one_rank_alone([&] {
    iterates_->go_to(kept_average_, kept_total_);
    transaction.commit();
    average_->start();
    // What it has walked since remains part of the way.
    if (path_sample_) path_sample_->take();
    // Moments that are no numbers would spoil the weights again.
    if (has_diverged_) base_->reset_state();
    rate_.go_back(step_);
  });
}

}  // namespace leapverify

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
  const double left = controller_.budget(situation()) - static_cast<double>(forwards_of_canary());
  const double least = left < static_cast<double>(forwards_of_look(first_helping())) ? 0 : 1;
  const double affordable = std::floor(left / static_cast<double>(forwards_of_usual_look()));
  return static_cast<std::int64_t>(
      std::clamp(affordable, least, static_cast<double>(options_.rate.looks)));
}

bool LeapVerify::Implementation::look_is_due() const {
  if (!looks() || !off_reason_.empty()) return false;
  const std::int64_t planned = options_.planned_steps;
  // Each is at the end of its part of the run, and the last at the end of the run.
  const std::int64_t looks = looks_of_run();
  return step_ <= planned && step_ * looks / planned > (step_ - 1) * looks / planned &&
         !situation().gate_used_up;
}

policy::Decision LeapVerify::Implementation::judge_earlier(Point& earlier, Point& reference,
                                                           Comparison& comparison) {
  policy::Decision decision;
  if (has_diverged_) {
    know_losses(earlier, static_cast<std::int64_t>(reference.losses.size()), comparison);
    decision.pairs = static_cast<std::int64_t>(earlier.losses.size());
    decision.reference_loss = policy::summarize(reference.losses).mean;
    decision.candidate_loss = policy::summarize(earlier.losses).mean;
    const bool is_whole = std::isfinite(decision.candidate_loss);
    decision.verdict = is_whole ? policy::Verdict::kAccepted : policy::Verdict::kRejected;
    decision.reason = is_whole ? "the loss of now is not finite" : "neither loss is finite";
    return decision;
  }
  const std::int64_t looks = looks_of_run();
  const std::int64_t to_come = looks - step_ * looks / options_.planned_steps;
  reserved_ = to_come * forwards_of_usual_look();
  decision = compare(reference, earlier, comparison);
  reserved_ = 0;
  const bool is_open = decision.verdict == policy::Verdict::kRejected && !decision.refuted;
  // Nothing is lost by it where the run ends.
  if (to_come == 0 && is_open && decision.candidate_loss < decision.reference_loss) {
    decision.verdict = policy::Verdict::kAccepted;
    decision.reason = "the lower loss, where the run ends";
  }
  return decision;
}

LeapVerify::Implementation::SearchResult LeapVerify::Implementation::looked_back_on_run(
    Point& reference, Comparison& comparison) {
  Point earlier{++comparison.points, *kept_step_ - step_, std::nullopt, {},
                &kept_average_,      &kept_buffers_};
  CandidateEvent event = place_candidate(earlier, comparison);
  event.decision = judge_earlier(earlier, reference, comparison);
  book_chance(event.decision);
  add_losses(event, reference, earlier);
  emit(to_json(event));
  SearchResult result;
  result.looked_back = event.decision.verdict == policy::Verdict::kAccepted;
  // Only what is shown to be better takes its place.
  result.refuted = event.decision.refuted;
  return result;
}

void LeapVerify::Implementation::slow_down() {
  const double factor = rate_.slow_down();
  // Iterates weigh by the square of their rate: those to come would not be heard among those of before.
  iterates_->reweigh(factor * factor);
  kept_total_ *= factor * factor;
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
    slow_down();
  });
}

}  // namespace leapverify

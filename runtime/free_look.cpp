// Looks at a run whose learning rate is free: while held-out sequences show that its average gets better
// it goes on, else more slowly, or back to the best.
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
  const std::int64_t observations = options_.planned_steps / options_.observe_every;
  const std::int64_t others = forwards_of_canary() + observations * forwards_of(options_.probes);
  const double left = controller_.budget(situation()) - static_cast<double>(others);
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
  // Probes, or a run with other options before, may have used it up.
  return affords(forwards_of_look(first_helping()) + (canary_passed_ ? 0 : forwards_of_canary()));
}

policy::Decision LeapVerify::Implementation::judge_earlier(Point& earlier, Point& reference,
                                                           Comparison& comparison) {
  const std::int64_t to_come = looks_of_run() - looks_until(step_);
  policy::Decision decision =
      compare(reference, earlier, comparison, to_come * forwards_of_usual_look());
  if (decision.pairs == 0) return decision;
  const bool is_finite = std::isfinite(decision.reference_loss);
  const bool earlier_is_finite = std::isfinite(decision.candidate_loss);
  if (!is_finite && !earlier_is_finite) {
    throw NotFinite("neither of the compared held-out losses is finite");
  }
  if (!is_finite) {
    decision.verdict = policy::Verdict::kAccepted;
    decision.reason = "the loss of now is not finite";
  } else if (!earlier_is_finite) {
    decision.refuted = true;
    decision.reason = "the earlier loss is not finite";
  } else if (to_come == 0 && decision.verdict != policy::Verdict::kAccepted && !decision.refuted &&
             decision.candidate_loss < decision.reference_loss) {
    // Nothing is lost by it where the run ends.
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
  const policy::Decision& decision = event.decision;
  book_chance(decision);
  add_losses(event, reference, earlier);
  emit(to_json(event));
  SearchResult result;
  result.looked_back = decision.verdict == policy::Verdict::kAccepted;
  // Only what is shown to be better takes its place.
  result.refuted = decision.refuted;
  result.is_open = !result.looked_back && !result.refuted && decision.pairs > 0;
  result.has_diverged = decision.pairs > 0 && !std::isfinite(decision.reference_loss);
  return result;
}

void LeapVerify::Implementation::slow_down() {
  // A rate that is still on its way up says nothing of that where it would end.
  if (rate_.climbs_to_stride()) return;
  const double factor = rate_.slow_down();
  // Iterates weigh by the square of their rate: those to come would not be heard among those of before.
  iterates_->reweigh(factor * factor);
  kept_total_ *= factor * factor;
}

void LeapVerify::Implementation::go_back(bool has_diverged, LeapTransaction& transaction) {
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
    if (has_diverged) base_->reset_state();
    rate_.go_back(step_);
    slow_down();
  });
}

}  // namespace leapverify

// Weights for others to train from, and weights that others have trained.
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/leap_verify_implementation.h>

#include <utility>

namespace leapverify {

std::string LeapVerify::Implementation::offer_obstacle() const {
  if (!options_.enabled) return "leaps are disabled";
  if (!off_reason_.empty()) return "leaps are off";
  if (options_.mode == Mode::kShadow) return "mode: shadow";
  if (rate_.is_free()) return kFreeReason;
  if (situation().gate_used_up) return "the gate sequences are used up";
  const bool affordable = affords(forwards_to_know(0, first_helping(), 0) + judging_forwards(0) +
                                  (canary_passed_ ? 0 : 3 * forwards_of(canary_sequences())));
  return affordable ? "" : "overhead cap reached";
}

std::vector<at::Tensor> LeapVerify::Implementation::predict(std::int64_t horizon,
                                                            const std::vector<at::Tensor>& way) {
  if (!offer_obstacle().empty()) return {};
  // Who trains from there takes the rates' factor of now, which is about to change.
  const policy::RateScale::State& rate = rate_.state();
  const bool climbs = rate.climbs && rate.scale > rate.base;
  const bool anneals = rate.has_risen && share_left(step_ + 2 * horizon) < options_.rate.anneal;
  if (climbs || anneals || rate.held < 1) return {};
  const policy::Predictor& predictor = portfolio_.members().front();
  // Predictions count from the newest snapshot.
  if (snapshots_->size() >= predictor.snapshots_needed() && snapshots_->steps().front() == step_) {
    return predict_by(predictor, horizon);
  }
  std::vector<at::Tensor> predicted;
  if (snapshots_->size() > 0) return predicted;
  for (std::size_t i = 0; i < way.size(); ++i) {
    predicted.push_back(weights_.tensors()[i].detach() + way[i]);
  }
  return predicted;
}

std::vector<at::Tensor> LeapVerify::Implementation::predict_by(const policy::Predictor& predictor,
                                                               std::int64_t horizon) {
  policy::History history{
      snapshots_->steps(), {}, static_cast<std::int64_t>(weights_.tensors().size())};
  if (predictor.needs_gram()) history.gram = gram(snapshots_->size());
  const policy::Prediction prediction = predictor.predict(history, horizon);
  snapshots_->let_weights_change();
  const Lent lent(weights_lent_);
  LeapTransaction transaction(weights_, saved_weights_);
  const std::int64_t non_finite =
      average_ ? transaction.move(prediction, *snapshots_) : write(prediction, transaction);
  if (whole_count(non_finite) > 0) return {};
  std::vector<at::Tensor> predicted;
  for (const at::Tensor& tensor : weights_.tensors()) predicted.push_back(tensor.detach().clone());
  return predicted;
}

Answer LeapVerify::Implementation::offer(const Offer& offer) {
  LV_CHECK(options_.enabled, "an offer with leaps disabled");
  LV_CHECK(options_.verification.when == policy::When::kImmediate &&
               options_.batch_norm == BatchNormPolicy::kKeep,
           "an offer is judged with when: immediate and batch_norm: keep only");
  LV_CHECK(!weights_lent_, "an offer while other weights stand in for those of training");
  Answer answer;
  answer.decision.verdict = policy::Verdict::kRejected;
  const std::int64_t forwards_before = ledger().forwards();
  try {
    replicas_.run([&] { judge(offer, answer); });
  } catch (const CollectiveError&) {
    throw;
  } catch (const std::exception& error) {
    answer.accepted = false;
    answer.decision.reason = error_text(error);
  }
  if (answer.accepted) require_same_weights("weights after what was taken over at step ");
  answer.forwards = ledger().forwards() - forwards_before;
  return answer;
}

void LeapVerify::Implementation::judge(const Offer& offer, Answer& answer) {
  answer.decision.reason = offer_obstacle();
  if (!answer.decision.reason.empty()) return;
  const TensorList weights(offer.weights);
  snapshots_->let_weights_change();
  const Lent lent(weights_lent_);
  LeapTransaction transaction(weights_, saved_weights_, moves_batch_norm() ? &buffers_ : nullptr,
                              &buffer_backup_);
  if (!canary_passed_) {
    off_reason_ = canary(transaction);
    if (!off_reason_.empty()) {
      answer.decision.reason = off_reason_;
      return;
    }
    canary_passed_ = true;
  }
  if (options_.gate == GateSource::kFixed) gate_cursor_ = 0;
  Comparison comparison{transaction, nullptr, {}, std::nullopt};
  draw_sequences(first_helping(), comparison);
  Point reference = reference_point();
  Point candidate{++comparison.points, offer.steps, std::nullopt, {}};
  candidate.weights = &weights;
  answer.decision = compare(reference, candidate, comparison);
  book_chance(answer.decision);
  if (answer.decision.verdict != policy::Verdict::kAccepted) return;
  transaction.let_change();
  weights_.copy_from(weights);
  replicas_.meet();
  not_on_one_rank_alone(offer.accept);
  if (average_) shift(average_->tensors(), saved_weights_, weights_);
  transaction.commit();
  step_ += offer.steps;
  answer.accepted = true;
  // What was observed and planned is no past of what comes.
  pending_.clear();
  controller_.end_cascade();
  begin_stretch();
}

std::vector<at::Tensor> LeapVerify::predict(std::int64_t horizon,
                                            const std::vector<at::Tensor>& way) {
  return implementation_->predict(horizon, way);
}

std::string LeapVerify::offer_obstacle() const { return implementation_->offer_obstacle(); }

Answer LeapVerify::offer(const Offer& offer) { return implementation_->offer(offer); }

}  // namespace leapverify

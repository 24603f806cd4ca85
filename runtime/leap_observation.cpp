// Observations: snapshots, the signal of the regime, and whether a try is due.
#include <leapverify/kernels/cosine.h>
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/leap_verify_implementation.h>
#include <leapverify/runtime/policy/statistics.h>

#include <algorithm>

namespace leapverify {
namespace {

kernels::MatrixView matrix_view(const at::Tensor& matrix) {
  kernels::MatrixView view{matrix.data_ptr(), matrix.size(0), matrix.size(1),
                           kernels::DType::kFloat32};
  if (matrix.scalar_type() == at::kBFloat16) view.dtype = kernels::DType::kBFloat16;
  if (matrix.scalar_type() == at::kHalf) view.dtype = kernels::DType::kFloat16;
  if (matrix.scalar_type() == at::kDouble) view.dtype = kernels::DType::kFloat64;
  return view;
}

}  // namespace

void LeapVerify::Implementation::record_snapshots() {
  if (snapshots_) snapshots_->record(step_);
  if (statistics_snapshots_) statistics_snapshots_->record(step_);
}

void LeapVerify::Implementation::observe(bool has_batch) {
  ObservationEvent event;
  event.step = step_;
  const double rate = take_rate();
  rate_.observe();
  if (!controller_.affords(situation(), forwards_of(options_.probes))) {
    begin_stretch();
    controller_.end_cascade();
    event.regime = detector_.regime();
    event.reason = "overhead cap reached";
    emit(to_json(event));
    return;
  }
  const std::int64_t forwards_before = ledger().forwards();
  ++observations_;
  policy::Action action;
  try {
    std::optional<double> cosine;
    replicas_.run([&] {
      record_snapshots();
      cosine = walk();
      if (options_.probes > 0) {
        const Evaluation probe = score_probes(event);
        if (activations_tell()) cosine = activation_cosine(probe.activations);
      }
    });
    if (cosine) {
      event.reading = detector_.observe(*cosine, rate);
      if (options_.detector.per_rate) event.measured = CosineAtRate{*cosine, rate};
    }
    event.regime = detector_.regime();
    policy::Situation now = situation();
    now.try_forwards = least_forwards_of_a_try(batch_of_a_try());
    if (!options_.leaps() && rate_.climbs()) now.least_horizon = options_.far_horizon();
    if (rate_.is_free()) {
      action.reason = kFreeReason;
    } else if (options_.leaps() || !bounds_stride() || rate_.room() >= kRoomForATry) {
      action = controller_.next(now);
    } else {
      action.reason = "the weights move as far as rate.stride lets them";
    }
  } catch (const CollectiveError&) {
    throw;
  } catch (const std::exception& error) {
    controller_.end_cascade();
    // Others may have recorded a snapshot that one has not.
    if (replicas_.size() > 1) begin_stretch();
    fail(error_text(error), ledger().forwards() - forwards_before);
    return;
  }
  event.horizons = action.horizons;
  event.reason = action.reason;
  emit(to_json(event));
  if (action.horizons.empty()) {
    // Only where the evaluator was asked has it shown that it works.
    if (options_.probes > 0) failures_in_row_ = 0;
  } else if (options_.gate == GateSource::kNextBatch && has_batch) {
    pending_ = action.horizons;
  } else {
    try_leap(action.horizons, nullptr);
  }
}

double LeapVerify::Implementation::take_rate() {
  const double rate = rate_sum_ / static_cast<double>(rate_steps_);
  rate_sum_ = 0;
  rate_steps_ = 0;
  return rate;
}

std::optional<double> LeapVerify::Implementation::walk() {
  const std::int64_t points = snapshots_ ? std::min(snapshots_walked(), snapshots_->size()) : 0;
  if (points < 2) return std::nullopt;
  const LastMoves moves = last_moves(gram(points), points);
  path_ += moves.length;
  return moves.cosine;
}

Evaluation LeapVerify::Implementation::score_probes(ObservationEvent& event) {
  ledger().probe_forwards += forwards_of(options_.probes);
  Evaluation probe = evaluate(numbers_from(0, options_.probes), activations_tell());
  probe_losses_ = to_host(probe.losses);
  event.probe_loss = policy::summarize(probe_losses_).mean;
  curve_.add(step_, *event.probe_loss);
  forecast_.add(step_, *event.probe_loss);
  return probe;
}

std::optional<double> LeapVerify::Implementation::activation_cosine(const at::Tensor& given) {
  LV_CHECK(given.defined() && given.dim() == 2 && given.size(0) == options_.probes,
           "the evaluator must return one activation vector for each of " << options_.probes
                                                                          << " probes");
  LV_CHECK(given.is_floating_point(), "activations must be floating, got " << given.scalar_type());
  const at::Tensor activations = given.detach().to(weights_.torch_device()).contiguous();
  std::optional<double> cosine;
  if (activations_.defined()) cosine = cosine_to_last(activations);
  activations_ = activations.clone();
  return cosine;
}

double LeapVerify::Implementation::cosine_to_last(const at::Tensor& activations) const {
  LV_CHECK(activations.sizes() == activations_.sizes(),
           "activations of shape " << activations.sizes() << ", at the last observation "
                                   << activations_.sizes());
  const at::Tensor cosines =
      at::empty({activations.size(0)}, activations.options().dtype(at::kDouble));
  kernels::cosine(matrix_view(activations), matrix_view(activations_), cosines.data_ptr<double>(),
                  weights_.device(), weights_.stream());
  return mean_cosine(to_host(cosines));
}

void LeapVerify::Implementation::begin_stretch() {
  if (snapshots_) snapshots_->clear();
  if (statistics_snapshots_) statistics_snapshots_->clear();
  forget_readings();
}

void LeapVerify::Implementation::forget_readings() {
  detector_.interrupt();
  curve_.interrupt();
  forecast_.interrupt();
  activations_ = at::Tensor();
}

}  // namespace leapverify

#include <leapverify/kernels/cosine.h>
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/evaluation_scope.h>
#include <leapverify/runtime/leap_transaction.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/momentum.h>
#include <leapverify/runtime/optimizer_state.h>
#include <leapverify/runtime/policy/statistics.h>
#include <leapverify/runtime/policy/value.h>
#include <leapverify/runtime/snapshot_store.h>
#include <leapverify/runtime/trace_events.h>
#include <torch/torch.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

namespace leapverify {
namespace {

using nlohmann::json;

// An evaluator that fails this often in a row will not recover.
constexpr int kMaxFailures = 3;

TensorList trainable_parameters(torch::optim::Optimizer& base) {
  std::vector<at::Tensor> parameters;
  for (const auto& group : base.param_groups()) {
    parameters.insert(parameters.end(), group.params().begin(), group.params().end());
  }
  if (parameters.empty()) {
    throw InvalidOption("base optimizer", "no parameters", "at least one parameter");
  }
  return TensorList(std::move(parameters));
}

TensorList buffers_of(torch::nn::Module& model) { return TensorList(model.buffers()); }

std::vector<double> to_host(const at::Tensor& values) {
  const at::Tensor host = values.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* data = host.data_ptr<double>();
  return {data, data + host.numel()};
}

std::vector<std::int64_t> numbers_from(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

kernels::MatrixView matrix_view(const at::Tensor& matrix) {
  kernels::MatrixView view{matrix.data_ptr(), matrix.size(0), matrix.size(1),
                           kernels::DType::kFloat32};
  if (matrix.scalar_type() == at::kBFloat16) view.dtype = kernels::DType::kBFloat16;
  if (matrix.scalar_type() == at::kHalf) view.dtype = kernels::DType::kFloat16;
  if (matrix.scalar_type() == at::kDouble) view.dtype = kernels::DType::kFloat64;
  return view;
}

}  // namespace

class LeapVerify::Implementation {
 public:
  Implementation(torch::optim::Optimizer& base, torch::nn::Module& model, const Options& options,
                 Evaluator& evaluator, TraceSink trace)
      : base_(base),
        model_(model),
        options_(validated(options, base, evaluator)),
        evaluator_(evaluator),
        trace_(std::move(trace)),
        predictor_(options_.predictor),
        detector_(options_.detector),
        controller_(options_.controller),
        verifier_(options_.verification),
        weights_(trainable_parameters(base)),
        buffers_(buffers_of(model)) {
    if (!options_.enabled) return;
    snapshots_.emplace(weights_, predictor_.snapshots_needed(), options_.snapshots);
    saved_weights_ = weights_.allocate_like(TensorList::Precision::kSame);
    saved_buffers_ = buffers_.allocate_like(TensorList::Precision::kSame);
  }

  at::Tensor step(const std::function<at::Tensor()>& closure) {
    if (step_ == 0) emit(start_event(options_, memory_bytes(), evaluator_.step_cost()));
    at::Tensor loss = base_step(closure);
    ++step_;
    if (options_.enabled && off_reason_.empty() && step_ % options_.observe_every == 0) observe();
    return loss;
  }

  Status status() const {
    const policy::Ledger& ledger = controller_.state().ledger;
    Status status{step_, detector_.regime(), ledger, 0, off_reason_};
    const double forwards = static_cast<double>(ledger.forwards());
    const double training = static_cast<double>(step_) * evaluator_.step_cost();
    if (forwards > 0) status.overhead = forwards / (forwards + training);
    return status;
  }

  std::int64_t memory_bytes() const {
    if (!snapshots_) return 0;
    return snapshots_->byte_count() + saved_weights_.byte_count() + saved_buffers_.byte_count();
  }

  torch::optim::Optimizer& base() { return base_; }

  LeapVerifyState state() const;
  void restore(const LeapVerifyState& state);

 private:
  /// A point that a try compares: a candidate, or the weights as they were, with horizon 0 and no
  /// prediction.
  struct Point {
    std::int64_t horizon = 0;
    std::optional<policy::Prediction> prediction;
    /// On the first sequences of the try.
    std::vector<double> losses;
  };
  /// What the points of one try are compared on.
  struct Comparison {
    LeapTransaction& transaction;
    std::vector<std::int64_t> sequences;
    /// Horizon of the point that the weights hold.
    std::int64_t placed = 0;
  };

  /// A step of the base optimizer that waits for copies of the weights just before it changes them.
  at::Tensor base_step(const std::function<at::Tensor()>& closure) {
    const auto let_weights_change = [this] {
      if (snapshots_) snapshots_->let_weights_change();
    };
    if (!closure) {
      let_weights_change();
      return base_.step();
    }
    return base_.step([&] {
      at::Tensor loss = closure();
      let_weights_change();
      return loss;
    });
  }

  static Options validated(const Options& options, const torch::optim::Optimizer& base,
                           const Evaluator& evaluator);

  void emit(const std::string& event) {
    if (trace_) trace_(event);
  }

  policy::Ledger& ledger() { return controller_.state().ledger; }
  policy::Situation situation() const;
  void observe();
  void look(ObservationEvent& event);
  double activation_signal(const at::Tensor& activations);
  Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool activations);
  std::vector<double> losses_of(const std::vector<std::int64_t>& sequences);
  std::vector<std::int64_t> next_gate_sequences(std::int64_t count);
  std::int64_t write(const policy::Prediction& prediction, LeapTransaction& transaction);
  /// Writes the point into the weights; returns the number of weights that are not finite.
  std::int64_t place(const Point& point, Comparison& comparison);
  /// Places the point and evaluates it where fewer than `count` of its losses are known.
  void know_losses(Point& point, std::int64_t count, Comparison& comparison);
  policy::Decision compare(Point& reference, Point& candidate, Comparison& comparison);
  void try_leap(const std::vector<std::int64_t>& horizons);
  std::optional<Point> search(const std::vector<std::int64_t>& horizons,
                              LeapTransaction& transaction);
  policy::Value worth(const Point& winner, LeapTransaction& transaction);
  void land(const policy::Value& value);
  /// Forgets the trajectory: what comes is no evenly spaced continuation of it.
  void begin_stretch();
  void fail(const std::string& reason, std::int64_t forwards);

  torch::optim::Optimizer& base_;
  torch::nn::Module& model_;
  Options options_;
  Evaluator& evaluator_;
  TraceSink trace_;
  policy::Predictor predictor_;
  Detector detector_;
  policy::Controller controller_;
  policy::Verifier verifier_;
  policy::LossCurve curve_;
  TensorList weights_;
  TensorList buffers_;
  TensorList saved_weights_;
  TensorList saved_buffers_;
  std::optional<SnapshotStore> snapshots_;

  std::int64_t step_ = 0;
  std::int64_t gate_cursor_ = 0;
  // Probe activations of the last observation, undefined before the first and after a leap.
  at::Tensor activations_;
  std::vector<double> probe_losses_;
  int failures_in_row_ = 0;
  std::string off_reason_;
};

Options LeapVerify::Implementation::validated(const Options& options,
                                              const torch::optim::Optimizer& base,
                                              const Evaluator& evaluator) {
  options.validate();
  check_supported(base);
  if (!options.enabled) return options;
  if (options.predictor.kind == policy::PredictorKind::kMomentum) check_has_momentum(base);
  const std::int64_t batch =
      std::max(options.verification.sequences, policy::Verifier(options.verification).max_pairs());
  const std::int64_t gain = options.verification.sequences;
  const std::int64_t needed = options.gate == GateSource::kFixed
                                  ? std::max(options.probes, batch + gain)
                                  : options.probes + batch + gain;
  if (evaluator.sequence_count() < needed) {
    throw InvalidOption("gate set", std::to_string(evaluator.sequence_count()) + " sequences",
                        "at least " + std::to_string(needed) + " for " +
                            std::to_string(options.probes) + " probes and " +
                            std::to_string(batch) + " sequences a comparison");
  }
  if (!(evaluator.step_cost() > 0)) {
    throw InvalidOption("step_cost", number_text(evaluator.step_cost()), above(0).text());
  }
  return options;
}

policy::Situation LeapVerify::Implementation::situation() const {
  policy::Situation now;
  now.step = step_;
  now.planned_steps = options_.planned_steps;
  now.step_cost = evaluator_.step_cost();
  now.regime = detector_.regime();
  now.snapshots = snapshots_->size();
  now.snapshots_needed = predictor_.snapshots_needed();
  // The reference, every link, and two passes over further sequences to value the winner.
  const auto links = static_cast<std::int64_t>(controller_.horizons().size());
  now.try_forwards = (links + 1) * verifier_.max_pairs() + 2 * options_.verification.sequences;
  return now;
}

void LeapVerify::Implementation::observe() {
  ObservationEvent event;
  event.step = step_;
  if (!controller_.affords(situation(), options_.probes)) {
    begin_stretch();
    event.regime = detector_.regime();
    event.reason = "overhead cap reached";
    emit(to_json(event));
    return;
  }
  const std::int64_t forwards_before = ledger().forwards();
  policy::Action action;
  try {
    snapshots_->record(step_);
    look(event);
    action = controller_.next(situation());
  } catch (const std::exception& error) {
    fail(error_text(error), ledger().forwards() - forwards_before);
    return;
  }
  event.horizons = action.horizons;
  event.reason = action.reason;
  emit(to_json(event));
  if (action.horizons.empty()) {
    failures_in_row_ = 0;
  } else {
    try_leap(action.horizons);
  }
}

void LeapVerify::Implementation::look(ObservationEvent& event) {
  ledger().probe_forwards += options_.probes;
  const Evaluation probe = evaluate(numbers_from(0, options_.probes), /*activations=*/true);
  LV_CHECK(probe.activations.defined() && probe.activations.dim() == 2 &&
               probe.activations.size(0) == options_.probes,
           "the evaluator must return one activation vector for each of " << options_.probes
                                                                          << " probes");
  probe_losses_ = to_host(probe.losses);
  event.probe_loss = policy::summarize(probe_losses_).mean;
  curve_.add(step_, *event.probe_loss);
  LV_CHECK(probe.activations.is_floating_point(),
           "activations must be floating, got " << probe.activations.scalar_type());
  const at::Tensor activations =
      probe.activations.detach().to(weights_.torch_device()).contiguous();
  if (activations_.defined()) {
    event.signal = activation_signal(activations);
    event.reading = detector_.observe(*event.signal);
  }
  event.regime = detector_.regime();
  activations_ = activations.clone();
}

double LeapVerify::Implementation::activation_signal(const at::Tensor& activations) {
  LV_CHECK(activations.sizes() == activations_.sizes(),
           "activations of shape " << activations.sizes() << ", at the last observation "
                                   << activations_.sizes());
  const at::Tensor cosines =
      at::empty({activations.size(0)}, activations.options().dtype(at::kDouble));
  kernels::cosine(matrix_view(activations), matrix_view(activations_), cosines.data_ptr<double>(),
                  weights_.device(), weights_.stream());
  return mean_cosine(to_host(cosines));
}

Evaluation LeapVerify::Implementation::evaluate(const std::vector<std::int64_t>& sequences,
                                                bool activations) {
  const EvaluationScope scope(model_, buffers_, saved_buffers_, weights_.torch_device());
  Evaluation result = evaluator_.evaluate(sequences, activations);
  LV_CHECK(result.losses.defined() && result.losses.dim() == 1 &&
               result.losses.size(0) == static_cast<std::int64_t>(sequences.size()),
           "the evaluator must return one loss for each of " << sequences.size() << " sequences");
  return result;
}

std::vector<double> LeapVerify::Implementation::losses_of(
    const std::vector<std::int64_t>& sequences) {
  ledger().verification_forwards += static_cast<std::int64_t>(sequences.size());
  return to_host(evaluate(sequences, /*activations=*/false).losses);
}

std::vector<std::int64_t> LeapVerify::Implementation::next_gate_sequences(std::int64_t count) {
  const std::int64_t first = options_.gate == GateSource::kFixed ? 0 : options_.probes;
  const std::int64_t available = evaluator_.sequence_count() - first;
  std::vector<std::int64_t> sequences;
  for (std::int64_t i = 0; i < count; ++i) {
    sequences.push_back(first + gate_cursor_ % available);
    ++gate_cursor_;
  }
  return sequences;
}

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

void LeapVerify::Implementation::land(const policy::Value& value) {
  ledger().steps_saved += value.steps_saved;
  if (options_.moments == MomentPolicy::kScale) scale_moments(base_, options_.moment_scale);
  if (options_.moments == MomentPolicy::kReset) reset_state(base_);
  // The jump is no part of the trajectory: history begins anew at the landing point.
  begin_stretch();
  snapshots_->record(step_);
}

void LeapVerify::Implementation::begin_stretch() {
  snapshots_->clear();
  detector_.interrupt();
  curve_.interrupt();
  activations_ = at::Tensor();
}

void LeapVerify::Implementation::fail(const std::string& reason, std::int64_t forwards) {
  if (++failures_in_row_ >= kMaxFailures) off_reason_ = reason;
  emit(failure_event(step_, reason, forwards, !off_reason_.empty()));
}

LeapVerifyState LeapVerify::Implementation::state() const {
  LeapVerifyState out;
  json data;
  data["step"] = step_;
  data["gate_cursor"] = gate_cursor_;
  data["failures_in_row"] = failures_in_row_;
  data["off_reason"] = off_reason_;
  data["past_losses"] = verifier_.past_losses();
  data["detector"] = to_json_state(detector_.state());
  data["controller"] = to_json_state(controller_.state());
  data["curve"] = to_json_state(curve_.state());
  data["snapshot_steps"] = snapshots_ ? snapshots_->steps() : std::vector<std::int64_t>{};
  data["activations"] = activations_.defined();
  if (activations_.defined()) out.tensors.emplace_back("activations", activations_);
  for (std::int64_t i = 0; snapshots_ && i < snapshots_->size(); ++i) {
    const std::vector<at::Tensor>& tensors = snapshots_->stored(i).tensors();
    for (std::size_t j = 0; j < tensors.size(); ++j) {
      out.tensors.emplace_back("snapshot." + std::to_string(i) + "." + std::to_string(j),
                               tensors[j]);
    }
  }
  out.json = data.dump();
  return out;
}

void LeapVerify::Implementation::restore(const LeapVerifyState& state) {
  const std::string source = "LeapVerify state";
  try {
    const json data = json::parse(state.json);
    step_ = data.at("step").get<std::int64_t>();
    gate_cursor_ = data.at("gate_cursor").get<std::int64_t>();
    failures_in_row_ = data.at("failures_in_row").get<int>();
    off_reason_ = data.at("off_reason").get<std::string>();
    verifier_.restore(data.at("past_losses").get<std::vector<double>>());
    detector_.restore(detector_state_from_json(data.at("detector")));
    controller_.state() = controller_state_from_json(data.at("controller"));
    curve_.restore(curve_state_from_json(data.at("curve")));
    if (data.at("activations").get<bool>()) {
      const auto found = std::find_if(state.tensors.begin(), state.tensors.end(),
                                      [](const auto& item) { return item.first == "activations"; });
      if (found == state.tensors.end()) throw FormatError(source + ": activations are missing");
      if (found->second.dim() != 2 || found->second.size(0) != options_.probes) {
        throw FormatError(source + ": activations are not those of " +
                          std::to_string(options_.probes) + " probes");
      }
      activations_ = found->second.to(weights_.torch_device());
    }
    if (!snapshots_) return;
    snapshots_->clear();
    const auto steps = data.at("snapshot_steps").get<std::vector<std::int64_t>>();
    if (static_cast<std::int64_t>(steps.size()) > predictor_.snapshots_needed()) {
      throw FormatError(source + ": " + std::to_string(steps.size()) + " snapshots, " +
                        name_of(options_.predictor.kind) + " keeps " +
                        std::to_string(predictor_.snapshots_needed()));
    }
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const std::vector<at::Tensor>& tensors = snapshots_->restore_older(steps[i]).tensors();
      for (std::size_t j = 0; j < tensors.size(); ++j) {
        const std::string name = "snapshot." + std::to_string(i) + "." + std::to_string(j);
        tensors[j].copy_(find_like(state.tensors, name, tensors[j], source));
      }
    }
  } catch (const json::exception& error) {
    throw FormatError(source + ": " + error.what());
  }
}

LeapVerify::LeapVerify(torch::optim::Optimizer& base, ModelReference model, const Options& options,
                       Evaluator& evaluator, TraceSink trace)
    : implementation_(std::make_unique<Implementation>(base, model.get(), options, evaluator,
                                                       std::move(trace))) {}

LeapVerify::~LeapVerify() = default;

at::Tensor LeapVerify::step(const std::function<at::Tensor()>& closure) {
  return implementation_->step(closure);
}

void LeapVerify::zero_grad(bool set_to_none) { implementation_->base().zero_grad(set_to_none); }

Status LeapVerify::status() const { return implementation_->status(); }

std::int64_t LeapVerify::memory_bytes() const { return implementation_->memory_bytes(); }

LeapVerifyState LeapVerify::state() const { return implementation_->state(); }

void LeapVerify::restore(const LeapVerifyState& state) { implementation_->restore(state); }

}  // namespace leapverify

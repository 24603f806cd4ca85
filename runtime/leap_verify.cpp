// The wrapper made, its steps, and what held-out losses are asked for with.
#include <ATen/autocast_mode.h>
#include <leapverify/runtime/evaluation_scope.h>
#include <leapverify/runtime/leap_verify_implementation.h>
#include <leapverify/runtime/policy/statistics.h>
#include <leapverify/runtime/scaled_rates.h>
#include <leapverify/runtime/torch_model.h>
#include <leapverify/runtime/torch_optimizer.h>
#include <leapverify/runtime/vector_math.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <numeric>
#include <optional>
#include <utility>

namespace leapverify {
namespace {

/// Weights of a smaller part of their usual norm are as good as 0.
constexpr double kNothing = 0.01;

// An evaluator that fails this often in a row will not recover.
constexpr int kMaxFailures = 3;

std::vector<at::Tensor> trained_parameters(const BaseOptimizer& base) {
  std::vector<at::Tensor> parameters = base.trained();
  if (parameters.empty()) {
    throw InvalidOption("base optimizer", "no parameters that require gradients",
                        "at least one parameter that does");
  }
  return parameters;
}

bool trains_adapters(const TrainedModel& model) {
  std::int64_t trained = 0;
  std::int64_t all = 0;
  for (const at::Tensor& parameter : model.parameters()) {
    all += parameter.numel();
    if (parameter.requires_grad()) trained += parameter.numel();
  }
  return trained < all / 4;
}

/// As SGD and Muon do, not in Adam's way.
bool keeps_momentum(const BaseOptimizer& base) {
  const std::vector<MomentumCoefficient> momenta = base.momenta();
  return std::any_of(momenta.begin(), momenta.end(),
                     [](const auto& one) { return one.value > 0 && !one.is_first_beta; });
}

/// A rate below the schedule's needs tries to leave it.
policy::RateOptions rate_options(const Options& options) {
  policy::RateOptions rate = options.rate;
  if (!options.enabled) rate.free = false;
  if (options.planned_steps == 0 || !options.no_try_reason().empty()) rate.start = 1;
  return rate;
}

}  // namespace

std::vector<std::int64_t> numbers_from(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

std::vector<double> to_host(const at::Tensor& values) {
  const at::Tensor host = values.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* data = host.data_ptr<double>();
  return {data, data + host.numel()};
}

LeapVerify::Implementation::Implementation(std::unique_ptr<BaseOptimizer> base,
                                           std::unique_ptr<TrainedModel> model,
                                           const Options& options, Evaluator& evaluator,
                                           TraceSink trace, StepRunner* runner, Collective* ranks)
    : base_(std::move(base)),
      model_(std::move(model)),
      evaluator_(evaluator),
      replicas_(ranks),
      options_(resolved(validated(options, runner))),
      trace_(std::move(trace)),
      runner_(runner),
      portfolio_(options_.predictor),
      detector_(options_.detector),
      controller_(options_.resolved_controller()),
      verifier_(options_.verification_of_one()),
      forecast_(options_.verification.settle_steps),
      rate_(rate_options(options_)),
      weights_(trained_parameters(*base_)),
      buffers_(model_->buffers()) {
  resolve_vector_math();
  if (options_.enabled) {
    if (rate_.is_free()) {
      iterates_.emplace(weights_);
    } else if (options_.reference == Reference::kDenoised) {
      average_.emplace(weights_, options_.denoise_decay);
    }
    if (!iterates_) {
      snapshots_.emplace(origin(), snapshots_to_keep(), options_.snapshots);
      saved_weights_ = weights_.allocate_like(TensorList::Precision::kSame);
    }
    saved_buffers_ = buffers_.allocate_like(TensorList::Precision::kSame);
    if (moves_buffers()) buffer_backup_ = buffers_.allocate_like(TensorList::Precision::kSame);
    if (bounds_stride()) {
      if (replicas_.size() > 1 && evaluator_.together() && !base_->sharded()) {
        const bool free = options_.rate.free;
        throw InvalidOption(
            free ? "rate.free" : "rate.stride", free ? "true" : number_text(options_.rate.stride),
            std::string(free ? "false" : "0") +
                " for a model that is split by hand: each rank knows its part only");
      }
      find_matrices();
    }
    if (keeps_average()) make_room_for_average();
    if (options_.batch_norm == BatchNormPolicy::kExtrapolate) {
      statistics_ = TensorList(model_->running_statistics());
      statistics_snapshots_.emplace(statistics_, snapshots_to_keep());
    }
  }
  settings_ = settings_json(options_, memory_bytes(), step_cost());
}

void LeapVerify::Implementation::require_same_ranks() {
  if (ranks_checked_ || replicas_.size() == 1) return;
  replicas_.require_same("version of torch (here " TORCH_VERSION ")", std::string(TORCH_VERSION));
  // Shards take unequal memory.
  replicas_.require_same("options and cost of a step",
                         settings_json(options_, /*memory_bytes=*/0, step_cost()));
  replicas_.require_same("number of gate sequences",
                         static_cast<std::uint64_t>(evaluator_.sequence_count()));
  replicas_.require_same("state of LeapVerify", shared_state());
  if (replicated()) replicas_.require_same("weights", weights_.digest());
  ranks_checked_ = true;
}

void LeapVerify::Implementation::begin_step() {
  // It may become known after construction, before training.
  if (iterates_ && options_.planned_steps == 0) {
    throw InvalidOption(
        "planned_steps", "0",
        "at least 1 with rate.free (presets auto and free), which fits the rate to the "
        "length of the run");
  }
  require_same_ranks();
  trace_settings();
  if (iterates_) iterates_->begin();
  if (iterates_ && drawn_norm_ == 0) {
    drawn_norm_ = drawn_norm();
    largest_norm_ =
        drawn_norm_ * (keeps_momentum(*base_) ? policy::RateOptions::kFreeGrownByMomentum
                                              : policy::RateOptions::kFreeGrown);
  }
  // The rate knows how far an earlier average was.
  const bool average_begins =
      (path_sample_ && !path_sample_->has_average()) || (average_ && !average_->has_begun());
  if (average_begins) rate_.go_back(step_);
  if (path_sample_) {
    const bool begins = !path_sample_->has_begun();
    path_sample_->begin();
    if (begins) begins_at_nothing_ = whole_distance(matrices_, nullptr) < kNothing * drawn_norm_;
  }
  if (average_) average_->begin();
  if (keeps_average() && !kept_step_) keep_average();
}

at::Tensor LeapVerify::Implementation::step(const std::function<at::Tensor()>& closure) {
  begin_step();
  if (!pending_.empty()) {
    pending_.clear();
    give_up_pending("no batch came to try the leap on");
  }
  at::Tensor loss = base_step(closure);
  follow(/*has_batch=*/false);
  return loss;
}

at::Tensor LeapVerify::Implementation::step(const TrainingBatch& batch) {
  LV_CHECK(batch.sequences > 0 && batch.losses && batch.backward,
           "a training batch needs its number of sequences and both of its functions");
  begin_step();
  batch_size_ = batch.sequences * replicas_.size();
  if (const std::vector<std::int64_t> horizons = std::exchange(pending_, {}); !horizons.empty()) {
    const bool seen = seen_by_any(batch);
    // The batch may be larger than the one that the try was planned with.
    if (controller_.affords(situation(), least_forwards_of_a_try(batch_of_a_try()))) {
      try_leap(horizons, seen ? nullptr : &batch);
    } else {
      give_up_pending("overhead cap reached");
    }
  }
  at::Tensor loss = batch.backward();
  base_step(nullptr);
  follow(/*has_batch=*/true);
  return loss;
}

bool LeapVerify::Implementation::seen_by_any(const TrainingBatch& batch) {
  replicas_.require_same("number of sequences of the batch",
                         static_cast<std::uint64_t>(batch.sequences));
  return replicas_.sum({batch.seen ? 1.0 : 0.0}).front() > 0;
}

void LeapVerify::Implementation::give_up_pending(const std::string& reason) {
  controller_.record(false);
  controller_.end_cascade();
  emit(failure_event(step_, reason, 0, /*off=*/false));
}

void LeapVerify::Implementation::follow(bool has_batch) {
  ++step_;
  if (!iterates_ && (step_ % options_.observe_every == 0 || step_ == options_.planned_steps)) {
    trace_rate(rate_.anneals() ? "the end of the run is near" : "the schedule has climbed");
  }
  if (iterates_) iterates_->take_in(rate_.iterate_weight(step_), pull_to_average());
  if (path_sample_) path_sample_->update_average(options_.denoise_decay);
  if (average_ && (off_reason_.empty() || bounds_stride())) average_->update();
  const bool observes = controller_.observes(step_, options_.observe_every);
  if (!options_.enabled) return;
  if (path_sample_ && step_ % waypoint_every() == 0) take_waypoint();
  // A rate that is far too large does harm before the first observation.
  const std::optional<double> slope = std::exchange(slope_, std::nullopt);
  if (slope && rate_.feel(*slope, step_)) {
    begin_anew();
  } else if (bounds_stride() &&
             (observes || step_ < options_.observe_every || rate_.climbs_to_stride())) {
    limit_stride();
  }
  release_average();
  if (observes && off_reason_.empty()) observe(has_batch);
  if (look_is_due()) look_at_run();
  if (!observes) return;
  const bool tries_go_on =
      off_reason_.empty() && !situation().gate_used_up &&
      controller_.affords(situation(), least_forwards_of_a_try(batch_of_a_try()));
  if (!tries_go_on && rate_.give_up()) trace_rate("nothing has verified, and no more is tried");
}

void LeapVerify::Implementation::trace_settings() {
  if (settings_ == traced_settings_) return;
  emit(settings_event(step_, settings_));
  const bool begins = traced_settings_.empty();
  traced_settings_ = settings_;
  trace_rate(begins ? "it begins below the schedule" : "other options");
}

void LeapVerify::Implementation::check_same_parameters() const {
  const std::vector<at::Tensor> now = trained_parameters(*base_);
  const auto same = [](const at::Tensor& a, const at::Tensor& b) { return a.is_same(b); };
  LV_CHECK(std::equal(now.begin(), now.end(), weights_.tensors().begin(), weights_.tensors().end(),
                      same),
           now.size() << " parameters of the base optimizer require gradients, expected the "
                      << weights_.tensors().size()
                      << " that did when LeapVerify was made; make another one after a change");
}

at::Tensor LeapVerify::Implementation::base_step(const std::function<at::Tensor()>& closure) {
  LV_CHECK(!weights_lent_, "step() while other weights stand in for those of training");
  if (options_.enabled) check_same_parameters();
  // After the closure, which may set the rates of this step itself.
  std::optional<ScaledRates> rates;
  std::optional<CappedMomenta> momenta;
  const auto scale = [&] {
    // Whoever evaluates the closure again in the same step.
    rates.reset();
    momenta.reset();
    if (options_.enabled) follow_rates();
    step_scale_ = rate_scale();
    rates.emplace(*base_, step_scale_);
    if (iterates_) {
      momenta.emplace(*base_, CappedMomenta::Most{policy::RateOptions::kFreeFirstBeta,
                                                  policy::RateOptions::kFreeMomentum});
    }
    if (options_.enabled) {
      rate_sum_ += mean_rate(*base_);
      ++rate_steps_;
    }
    if (snapshots_) snapshots_->let_weights_change();
    slope_.reset();
    if (path_sample_ && rate_.feels_slope()) slope_ = slope_of_way();
  };
  if (!closure) {
    scale();
    return base_->step(nullptr);
  }
  return base_->step([&] {
    at::Tensor loss = closure();
    scale();
    return loss;
  });
}

void LeapVerify::Implementation::follow_rates() {
  const std::vector<double> rates = base_->learning_rates();
  for (const double rate : rates) {
    if (iterates_ && !std::isfinite(rate)) {
      throw InvalidOption("learning rate", number_text(rate), "a finite one with rate.free");
    }
  }
  rate_.follow(rates, share_left(step_));
}

bool LeapVerify::Implementation::bounds_stride() const {
  return (average_ || iterates_) && rate_.has_stride() && options_.mode == Mode::kLeap &&
         options_.adapts_rate();
}

void LeapVerify::Implementation::find_matrices() {
  std::vector<at::Tensor> matrices;
  std::vector<at::Tensor> averages;
  const auto& all = iterates_ ? iterates_->iterate().tensors() : weights_.tensors();
  // Where all are vectors, they count as matrices.
  const bool none = std::none_of(all.begin(), all.end(), [](const auto& t) { return t.dim() > 1; });
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].dim() < 2 && !none) continue;
    matrix_of_.push_back(i);
    matrices.push_back(all[i]);
    if (average_) averages.push_back(average_->tensors().tensors()[i]);
  }
  matrices_ = TensorList(std::move(matrices));
  if (iterates_) path_sample_.emplace(matrices_);
  averaged_matrices_ = TensorList(std::move(averages));
}

double LeapVerify::Implementation::drawn_norm() const {
  double squares = 0;
  for (const at::Tensor& matrix : matrices_.tensors()) {
    squares += static_cast<double>(matrix.dim() > 0 ? matrix.size(0) : 1) / 3;
  }
  return std::sqrt(over_shards({squares}).front());
}

double LeapVerify::Implementation::stride() {
  if (!path_sample_) {
    return whole_distance(matrices_, &averaged_matrices_) / whole_distance(matrices_, nullptr);
  }
  const PathSample::Stride here = path_sample_->stride();
  const std::vector<double> squares = over_shards({here.norm, here.from_average});
  const double norm =
      begins_at_nothing_ ? drawn_norm_ : std::min(std::sqrt(squares[0]), largest_norm_);
  return std::sqrt(squares[1]) / norm;
}

void LeapVerify::Implementation::take_waypoint() {
  const PathSample::Squares here = path_sample_->take();
  const std::vector<double> squares = over_shards({here.from_start, here.moved});
  if (std::isfinite(squares[0]) && std::isfinite(squares[1])) rate_.walk(squares[0], squares[1]);
}

void LeapVerify::Implementation::limit_stride() {
  const double distance = stride();
  // Weights that are not finite are for the training loop to tell.
  if (!std::isfinite(distance)) return;
  const double rate = rate_.free_value();
  const char* reason = rate_.limit(distance, step_, options_.denoise_decay);
  // Of a free rate the factor changes with the schedule too, which is no decision.
  if (!rate_.is_free() || rate != rate_.free_value()) trace_rate(reason);
}

double LeapVerify::Implementation::share_left(std::int64_t done) const {
  if (options_.planned_steps == 0) return 1;
  return 1 - static_cast<double>(done) / static_cast<double>(options_.planned_steps);
}

void LeapVerify::Implementation::at_average(const std::function<void()>& action) {
  LV_CHECK(
      has_average(),
      "no average of the weights is kept (reference: denoised keeps one, from the first step on)");
  LV_CHECK(!weights_lent_, "at_average() while other weights stand in for those of training");
  const Lent lent(weights_lent_);
  if (snapshots_) snapshots_->let_weights_change();
  // Copies of the weights in lower precision that autocast keeps, also where the action throws.
  struct ClearedCache {
    ClearedCache() { at::autocast::clear_cache(); }
    ~ClearedCache() { at::autocast::clear_cache(); }
  };
  if (iterates_) iterates_->begin();
  const ClearedCache cleared;
  TensorList own;
  LeapTransaction transaction(weights_, backup(own));
  transaction.write(iterates_ ? iterates_->average() : average_->tensors());
  action();
}

const TensorList& LeapVerify::Implementation::backup(TensorList& own) const {
  if (!iterates_) return saved_weights_;
  own = weights_.allocate_like(TensorList::Precision::kSame);
  return own;
}

double LeapVerify::Implementation::pull_to_average() const {
  // Around the end of the run: steps in which nothing moves are not counted, and some make a few more.
  const std::int64_t around = std::max<std::int64_t>(2, options_.planned_steps / 50);
  const bool ends = std::abs(step_ - options_.planned_steps) <= around;
  return ends ? 1 : policy::RateOptions::kFreePull;
}

Status LeapVerify::Implementation::status() const {
  const policy::Ledger& ledger = controller_.state().ledger;
  const double scale = rate_scale() / rate_.state().annealed;
  Status status{step_,
                detector_.regime(),
                ledger,
                0,
                scale,
                step_scale_,
                rate_.free_value(),
                kept_step_.value_or(0),
                off_reason_};
  const double forwards = static_cast<double>(ledger.forwards());
  const double training = static_cast<double>(step_) * step_cost();
  if (forwards > 0) status.overhead = forwards / (forwards + training);
  return status;
}

TryCost LeapVerify::Implementation::try_cost(std::int64_t batch_sequences) const {
  if (!options_.enabled) return {};
  if (rate_.is_free()) {
    if (options_.rate.looks == 0) return {};
    return {forwards_of_canary() + forwards_of_look(first_helping()),
            controller_.budget(situation()), looks_of_run()};
  }
  const std::int64_t batch =
      options_.gate == GateSource::kNextBatch ? batch_sequences * replicas_.size() : 0;
  return {least_forwards_of_a_try(batch), controller_.budget(situation())};
}

double LeapVerify::Implementation::in_force(const policy::RateScale& rate) const {
  const bool moves = options_.enabled && options_.mode == Mode::kLeap && options_.adapts_rate();
  return moves ? rate.value() : 1;
}

std::int64_t LeapVerify::Implementation::snapshots_walked() const {
  if (options_.detector.signal == SignalKind::kDeltaCosine) return 3;
  return options_.has_trust_region() ? 2 : 0;
}

std::int64_t LeapVerify::Implementation::snapshots_to_keep() const {
  const std::int64_t looked_back_on = options_.adapts_rate() ? options_.rate.look_back + 1 : 0;
  return std::max({portfolio_.snapshots_needed(), looked_back_on, snapshots_walked()});
}

std::int64_t LeapVerify::Implementation::memory_bytes() const {
  const std::int64_t snapshots = snapshots_ ? snapshots_->byte_count() : 0;
  const std::int64_t average = average_ ? average_->tensors().byte_count() : 0;
  const std::int64_t statistics = statistics_snapshots_ ? statistics_snapshots_->byte_count() : 0;
  const std::int64_t iterates =
      iterates_ ? iterates_->iterate().byte_count() + iterates_->average().byte_count() : 0;
  const std::int64_t sample = path_sample_ ? path_sample_->byte_count() : 0;
  return average + iterates + kept_average_.byte_count() + kept_buffers_.byte_count() + sample +
         snapshots + saved_weights_.byte_count() + saved_buffers_.byte_count() +
         buffer_backup_.byte_count() + statistics;
}

Options LeapVerify::Implementation::validated(const Options& options,
                                              const StepRunner* runner) const {
  options.validate();
  if (!options.enabled) return options;
  if (policy::Portfolio(options.predictor).has(policy::PredictorKind::kMomentum)) {
    base_->check_has_moments();
  }
  if (options.needs_step_runner() && runner == nullptr) {
    throw InvalidOption("when, schedule, data",
                        std::string(name_of(options.verification.when)) + ", " +
                            name_of(options.schedule) + ", " + name_of(options.data),
                        "immediate, keep and keep without a StepRunner");
  }
  const std::int64_t batch = std::max(options.verification.sequences,
                                      policy::Verifier(options.verification_of_one()).max_pairs());
  const std::int64_t gain = options.verification.sequences;
  const std::int64_t compared =
      options.gate == GateSource::kFixed
          ? std::max(options.probes, batch + gain)
          : options.probes + batch + gain +
                (options.batch_norm == BatchNormPolicy::kRecompute ? gain : 0);
  const bool compares = !options.rate.free || options.rate.looks > 0;
  const std::int64_t needed = compares ? std::max(compared, canary_sequences()) : options.probes;
  const auto fitting = [&](std::int64_t sequences) {
    const bool fits = sequences >= policy::Verifier(options.verification_of_one()).pairs_needed();
    return fits ? " (" + std::to_string(sequences) + " would do)" : std::string();
  };
  if (evaluator_.sequence_count() < needed) {
    throw InvalidOption("gate set", std::to_string(evaluator_.sequence_count()) + " sequences",
                        "at least " + std::to_string(needed) + " for " +
                            std::to_string(options.probes) + " probes and " +
                            std::to_string(batch) +
                            " sequences a comparison, which verification.max_sequences bounds" +
                            fitting(evaluator_.sequence_count() - (needed - batch)));
  }
  if (!(evaluator_.step_cost() > 0)) {
    throw InvalidOption("step_cost", number_text(evaluator_.step_cost()), above(0).text());
  }
  return options;
}

Options LeapVerify::Implementation::resolved(Options options) const {
  const std::int64_t steps = options.planned_steps;
  if (options.enabled && options.rate.free && options.rate.stride == 0 && steps > 0) {
    options.rate.stride = policy::RateOptions::free_stride(steps, trains_adapters(*model_));
  }
  return options;
}

policy::Situation LeapVerify::Implementation::situation() const {
  policy::Situation now;
  now.step = step_;
  now.planned_steps = options_.planned_steps;
  now.step_cost = step_cost();
  now.regime = detector_.regime();
  now.snapshots = snapshots_ ? snapshots_->size() : 0;
  now.snapshots_needed = portfolio_.snapshots_needed();
  now.gate_used_up = gate_passes() >= static_cast<double>(options_.max_gate_passes);
  return now;
}

std::int64_t LeapVerify::Implementation::forwards_of_worth() const {
  const std::int64_t passes = options_.leaps() ? 2 : 0;
  // Statistics are made anew twice to value a winner, once to land on it, and at each candidate.
  return passes * forwards_of(options_.verification.sequences) + 4 * recomputing_forwards();
}

std::int64_t LeapVerify::Implementation::least_forwards_of_a_try(std::int64_t batch) const {
  // The reference, a candidate, and a look back where the rate has risen.
  const bool can_fall = options_.adapts_rate() && rate_.state().scale > rate_.smallest();
  const std::int64_t points = 1 + (can_fall ? 1 : 0);
  return points * forwards_to_know(0, first_helping(), batch) + judging_forwards(batch) +
         forwards_of_worth() + (canary_passed_ ? 0 : forwards_of_canary());
}

Evaluation LeapVerify::Implementation::evaluate(const std::vector<std::int64_t>& sequences,
                                                bool activations) {
  const EvaluationScope scope(*model_, buffers_, saved_buffers_, weights_.torch_device());
  return replicas_.evaluate(evaluator_, sequences, activations);
}

std::vector<double> LeapVerify::Implementation::losses_of(
    const std::vector<std::int64_t>& sequences) {
  ledger().verification_forwards += forwards_of(static_cast<std::int64_t>(sequences.size()));
  return to_host(evaluate(sequences, /*activations=*/false).losses);
}

double LeapVerify::Implementation::gate_passes() const {
  if (options_.gate == GateSource::kFixed) return 0;
  return static_cast<double>(gate_cursor_) /
         static_cast<double>(evaluator_.sequence_count() - options_.probes);
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

void LeapVerify::Implementation::fail(const std::string& reason, std::int64_t forwards) {
  if (++failures_in_row_ >= kMaxFailures) off_reason_ = reason;
  emit(failure_event(step_, reason, forwards, !off_reason_.empty()));
}

LeapVerify::LeapVerify(torch::optim::Optimizer& base, ModelReference model, const Options& options,
                       Evaluator& evaluator, TraceSink trace, StepRunner* runner, Collective* ranks)
    : LeapVerify(std::make_unique<TorchOptimizer>(base), std::make_unique<TorchModel>(model.get()),
                 options, evaluator, std::move(trace), runner, ranks) {}

LeapVerify::LeapVerify(std::unique_ptr<BaseOptimizer> base, std::unique_ptr<TrainedModel> model,
                       const Options& options, Evaluator& evaluator, TraceSink trace,
                       StepRunner* runner, Collective* ranks)
    : implementation_(std::make_unique<Implementation>(
          std::move(base), std::move(model), options, evaluator, std::move(trace), runner, ranks)) {
}

LeapVerify::~LeapVerify() = default;

at::Tensor LeapVerify::step(const std::function<at::Tensor()>& closure) {
  return implementation_->step(closure);
}

at::Tensor LeapVerify::step(const TrainingBatch& batch) { return implementation_->step(batch); }

void LeapVerify::zero_grad(bool set_to_none) { implementation_->base().zero_grad(set_to_none); }

Status LeapVerify::status() const { return implementation_->status(); }

TryCost LeapVerify::try_cost(std::int64_t batch_sequences) const {
  return implementation_->try_cost(batch_sequences);
}

std::int64_t LeapVerify::memory_bytes() const { return implementation_->memory_bytes(); }

void LeapVerify::stand_still() { implementation_->stand_still(); }

bool LeapVerify::has_average() const { return implementation_->has_average(); }

void LeapVerify::at_average(const std::function<void()>& action) {
  implementation_->at_average(action);
}

LeapVerifyState LeapVerify::state() const { return implementation_->state(); }

void LeapVerify::restore(const LeapVerifyState& state) { implementation_->restore(state); }

}  // namespace leapverify

#include <leapverify/integrations/data/text.h>
#include <leapverify/integrations/data/utf8.h>
#include <leapverify/integrations/models/sample.h>
#include <leapverify/integrations/trainer/base_optimizer.h>
#include <leapverify/integrations/trainer/config_changes.h>
#include <leapverify/integrations/trainer/language_evaluator.h>
#include <leapverify/integrations/trainer/loop_state.h>
#include <leapverify/integrations/trainer/metrics.h>
#include <leapverify/integrations/trainer/peak_memory.h>
#include <leapverify/integrations/trainer/progress.h>
#include <leapverify/integrations/trainer/run_checkpoint.h>
#include <leapverify/integrations/trainer/run_folder.h>
#include <leapverify/integrations/trainer/run_setup.h>
#include <leapverify/integrations/trainer/start_lines.h>
#include <leapverify/integrations/trainer/step_error.h>
#include <leapverify/integrations/trainer/step_profile.h>
#include <leapverify/integrations/trainer/trainer.h>
#include <leapverify/integrations/trainer/training_steps.h>
#include <leapverify/integrations/trainer/worker_process.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/speculation.h>
#include <leapverify/runtime/trace.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

namespace leapverify::trainer {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

/// The first steps make what the others use: state, handles, graphs.
constexpr std::int64_t kStepsBeforeProfile = 10;

std::atomic<bool> stop_requested{false};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string count_of_ranks(int count) {
  return count == 1 ? "one process" : std::to_string(count) + " ranks";
}

/// Tokens of a tokenizer stay numbers: only it can decode them.
std::string sample_text(const std::vector<std::int64_t>& tokens, bool bytes) {
  if (bytes) return data::shown_text({tokens.begin(), tokens.end()});
  std::string text = "(numbers of tokens)";
  for (const std::int64_t token : tokens) text += " " + std::to_string(token);
  return text;
}

}  // namespace

class Trainer::Implementation {
 public:
  Implementation(const Config& config, const fs::path& run, const distributed::Ranks& ranks)
      : config_(config),
        run_(run),
        launch_(ranks.launch),
        ranks_(*ranks.communicator),
        settings_(pass_settings(config, launch_)),
        text_(config.data, models::model_size(config.model).vocabulary, settings_.context,
              config.batch.sequences_of_step()),
        model_(make_seeded_model(config, settings_.device, launch_)),
        base_(make_base_optimizer(config.optimizer, *model_)),
        steps_(config_, settings_, text_, *model_, *base_, ranks_),
        evaluator_(*model_, text_,
                   step_cost(*model_, config.model.activation_checkpointing, steps_.sequences()),
                   settings_) {
    check_speculation();
  }

  /// Makes the ranks agree, and the run folder or what it holds ready.
  void begin(const std::optional<Resume>& resume);

  Summary train();

 private:
  const Options& leaps() const { return config_.leapverify.options; }
  bool has_free_rate() const { return leaps().enabled && leaps().rate.free; }
  bool first() const { return ranks_.rank() == 0; }
  /// Throws InvalidOption where there can be no worker.
  void check_speculation() const;
  /// Of train, gate and validation, which a resumed run must find unchanged.
  std::vector<std::uint64_t> text_hashes() const {
    const data::TextSummary& text = text_.summary();
    return {text.train.hash, text.gate.hash, text.validation.hash};
  }
  std::int64_t tokens_of_step() const {
    return config_.batch.sequences_of_step() * settings_.context;
  }
  void describe_run();
  void note(const std::string& line) {
    if (first()) progress_.note(line);
  }
  /// Whether all ranks are to stop here.
  bool stops(bool logged);
  torch::Tensor train_step();
  /// train_step(), whose errors for want of memory say what to lower.
  torch::Tensor train_step_in_memory();
  /// By the weights of now.
  bool reached_target() const {
    return loop_.validated_step == step_ && loop_.validated_loss <= config_.run.target_loss;
  }
  void check_loss(const torch::Tensor& loss);
  double rate_in_force() const {
    return base_->param_groups().front().options().get_lr() * optimizer_->status().step_scale;
  }
  TrainingBatch next_batch(const TokenBatch& batch);
  /// Validation losses of now, which go to the metrics too; once a step. Where it fails the steps up to
  /// here are saved first.
  const ValidationMetrics& validate();
  ValidationMetrics validation_losses();
  /// Runs it with the weights that the run is for: with a free rate their average.
  void at_result(const std::function<void()>& action);
  void log(bool keep);
  /// Before each step, and when the run ends.
  void profile(bool ends);
  TrainedParts parts() { return {*model_, *base_, *optimizer_, settings_.device}; }
  void save();
  /// What the first rank writes.
  void write_checkpoint(const std::vector<RandomState>& random);
  void restore(const Resume& resume);
  Summary summary();
  /// What the model writes.
  std::string sample();

  Config config_;
  fs::path run_;
  distributed::Launch launch_;
  distributed::Communicator& ranks_;
  PassSettings settings_;
  data::Text text_;
  std::shared_ptr<models::PretrainedModel> model_;
  std::unique_ptr<torch::optim::Optimizer> base_;
  TrainingSteps steps_;
  LanguageEvaluator evaluator_;
  /// The first rank's.
  std::unique_ptr<TraceFile> trace_;
  std::unique_ptr<TraceFile> metrics_;
  std::unique_ptr<LeapVerify> optimizer_;
  /// Null where no worker trains ahead.
  std::unique_ptr<Speculation> speculation_;
  ProgressBar progress_;
  std::optional<StepProfile> profile_;
  /// Whether one was begun.
  bool profiled_ = false;

  std::int64_t step_ = 0;
  /// Of the latest checkpoint.
  std::int64_t saved_step_ = 0;
  /// Of the config, since the checkpoint that the run was resumed from.
  std::vector<ConfigChange> changes_;
  double learning_rate_ = 0;
  LoopState loop_;
  /// The last that there was.
  std::optional<ValidationMetrics> validation_;
  std::int64_t first_step_ = 0;
  double seconds_before_ = 0;
  Clock::time_point start_;
};

void Trainer::Implementation::begin(const std::optional<Resume>& resume) {
  const TraceSink trace = [this](const std::string& event) { trace_->write(event); };
  require_same_config(ranks_, config_);
  require_same(ranks_, "text",
               text_.summary().description + std::to_string(text_hashes()[0]) +
                   std::to_string(text_hashes()[1]) + std::to_string(text_hashes()[2]));
  succeed_together(ranks_, [&] {
    optimizer_ = std::make_unique<LeapVerify>(*base_, *model_, leaps(), evaluator_,
                                              first() ? trace : nullptr, &steps_, &ranks_);
  });
  if (config_.speculation.steps > 0) {
    speculation_ = std::make_unique<Speculation>(
        config_.speculation, *optimizer_, *base_, steps_,
        [this] { return start_worker_process(config_, run_ / "worker"); }, trace);
  }
  // Only now, so that a run that cannot start leaves no folder behind.
  if (resume) {
    succeed_together(ranks_, [&] { restore(*resume); });
  }
  succeed_together(ranks_, [&] {
    if (!first()) return;
    // Before trace and metrics are cut, or a run that is killed would go on after what they lack.
    if (resume && resume->step) make_latest(run_, *resume->step);
    if (!resume) create_run_folder(run_, to_yaml(config_));
    trace_ = std::make_unique<TraceFile>(run_ / "trace.jsonl", loop_.trace_bytes);
    metrics_ = std::make_unique<TraceFile>(run_ / "metrics.jsonl", loop_.metrics_bytes);
    if (!changes_.empty()) trace_->write(config_event(step_, changes_));
  });
  if (speculation_ && !speculation_->off_reason().empty()) {
    note("no worker: " + speculation_->off_reason());
  }
  if (speculation_) speculation_->go_on();
}

void Trainer::Implementation::describe_run() {
  if (!first()) return;
  const StartFacts facts{config_,     run_.string(), text_, *model_, settings_,
                         *optimizer_, launch_,       step_, changes_};
  for (const std::string& line : start_lines(facts)) progress_.note(line);
}

bool Trainer::Implementation::stops(bool logged) {
  if (ranks_.size() == 1) return stop_requested;
  if (!logged) return false;
  std::vector<double> asked = {stop_requested ? 1.0 : 0.0};
  ranks_.sum(asked);
  return asked.front() > 0;
}

void Trainer::Implementation::check_speculation() const {
  if (config_.speculation.steps == 0) return;
  const std::string steps = std::to_string(config_.speculation.steps);
  if (!leaps().enabled) {
    throw InvalidOption(
        "speculation.steps", steps,
        "0 without leapverify.enabled: true, whose rules judge what a worker hands over");
  }
  const auto legal_alone = [&](bool alone, const char* why) {
    if (!alone) throw InvalidOption("speculation.steps", steps, std::string("0 with ") + why);
  };
  legal_alone(ranks_.size() == 1, "several ranks");
  legal_alone(leaps().mode == Mode::kLeap, "leapverify.mode: shadow, which takes nothing over");
  legal_alone(!leaps().rate.free,
              "leapverify.rate.free, which takes nothing over (leapverify.preset: verified does)");
  legal_alone(leaps().verification.when == policy::When::kImmediate,
              "leapverify.verification.when other than immediate");
  legal_alone(leaps().batch_norm == BatchNormPolicy::kKeep,
              "leapverify.batch_norm other than keep");
  const SpeculationSettings& worker = config_.speculation;
  if (worker.device == WorkerDevice::kCuda) {
    const auto gpus = static_cast<std::int64_t>(torch::cuda::device_count());
    if (gpus == 0) {
      throw InvalidOption("speculation.device", "cuda", "cpu: this machine shows no CUDA device");
    }
    if (worker.gpu >= gpus) {
      throw InvalidOption("speculation.gpu", std::to_string(worker.gpu),
                          "below " + std::to_string(gpus) + ", the number of CUDA devices here");
    }
  } else if (config_.run.precision == Precision::kTf32) {
    throw InvalidOption("speculation.device", "cpu", "cuda with run.precision: tf32");
  }
}

TrainingBatch Trainer::Implementation::next_batch(const TokenBatch& batch) {
  return {steps_.sequences(), [this, batch] { return steps_.sequence_losses(batch); },
          [this, batch] { return steps_.gradients_of(batch); },
          // Drawn at random: after a quarter of an epoch a fifth of a batch was trained on before.
          4 * steps_.position().data * tokens_of_step() > text_.summary().train.tokens};
}

torch::Tensor Trainer::Implementation::train_step() {
  torch::Tensor loss;
  if (leaps().enabled && leaps().gate == GateSource::kNextBatch) {
    loss = optimizer_->step(next_batch(steps_.take_batch()));
  } else {
    steps_.backward();
    // Rehearsals within step() make losses of their own.
    loss = steps_.loss();
    optimizer_->step();
  }
  learning_rate_ = rate_in_force();
  ++step_;
  if (speculation_) step_ += speculation_->after_step(step_, config_.run.steps);
  return loss;
}

torch::Tensor Trainer::Implementation::train_step_in_memory() {
  try {
    return train_step();
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    throw Error(out_of_memory_text(config_, step_ + 1));
  }
}

const ValidationMetrics& Trainer::Implementation::validate() {
  if (validation_ && validation_->step == step_) return *validation_;
  ValidationMetrics metrics;
  try {
    metrics = validation_losses();
  } catch (const CollectiveError&) {
    throw;
  } catch (const std::exception& error) {
    if (saved_step_ != step_) save();
    throw Error("validation at step " + std::to_string(step_) +
                " failed, the checkpoint of that step is saved: " + error_text(error));
  }
  if (metrics.loss < loop_.best_loss) {
    loop_.best_loss = metrics.loss;
    loop_.best_step = step_;
  }
  const bool first_time = loop_.validated_step != step_;
  loop_.validated_step = step_;
  loop_.validated_loss = metrics.loss;
  metrics.reached_target = reached_target();
  if (first_time && first()) metrics_->write(to_json(metrics));
  return validation_.emplace(metrics);
}

ValidationMetrics Trainer::Implementation::validation_losses() {
  const auto loss = [this] {
    return validation_loss(*model_, text_, config_.run.eval_sequences, settings_, ranks_);
  };
  ValidationMetrics metrics;
  metrics.step = step_;
  at_result([&] { metrics.loss = loss(); });
  if (config_.run.eval_average && !has_free_rate() && optimizer_->has_average()) {
    optimizer_->at_average([&] { metrics.average_loss = loss(); });
  }
  return metrics;
}

void Trainer::Implementation::at_result(const std::function<void()>& action) {
  if (has_free_rate() && optimizer_->has_average()) {
    optimizer_->at_average(action);
  } else {
    action();
  }
}

void Trainer::Implementation::log(bool keep) {
  if (!first()) return;
  const Status status = optimizer_->status();
  const double seconds = seconds_since(start_);
  const double tokens =
      static_cast<double>(step_ - first_step_) * static_cast<double>(tokens_of_step());
  ProgressState state;
  state.step = step_;
  state.steps = config_.run.steps;
  state.loss = loop_.last_loss;
  state.tokens_per_second = seconds > 0 ? tokens / seconds : 0;
  state.seconds_left = seconds /
                       static_cast<double>(std::max<std::int64_t>(step_ - first_step_, 1)) *
                       static_cast<double>(config_.run.steps - step_);
  state.leaps_on = leaps().enabled;
  state.regime = status.regime;
  state.tried = status.ledger.tries;
  state.accepted = status.ledger.accepted;
  state.steps_saved = status.ledger.steps_saved;
  state.learning_rate_scale = status.learning_rate_scale;
  if (has_free_rate()) state.free_rate = learning_rate_;
  progress_.update(state, keep);
  if (keep) {
    metrics_->write(
        to_json(TrainMetrics{step_, loop_.last_loss, learning_rate_, state.tokens_per_second,
                             seconds_before_ + seconds, peak_memory(settings_.device)}));
  }
}

void Trainer::Implementation::profile(bool ends) {
  const std::int64_t steps = config_.run.profile_steps;
  if (steps == 0 || !first()) return;
  const std::int64_t begin = first_step_ + kStepsBeforeProfile;
  if (!profile_ && !profiled_ && !ends && step_ >= begin) {
    profiled_ = true;
    profile_.emplace();
  } else if (profile_ && (ends || step_ >= begin + steps)) {
    try {
      profile_->write(run_ / "profile.json");
    } catch (const Error& error) {
      note(std::string("no profile: ") + error.what());
    }
    profile_.reset();
  }
  if (ends && !profiled_) {
    note("no profile: the run took no more than " + std::to_string(kStepsBeforeProfile) +
         " steps, after which run.profile_steps begin");
  }
}

void Trainer::Implementation::check_loss(const torch::Tensor& loss) {
  std::vector<double> parts = {loss.item<double>()};
  ranks_.sum(parts);
  loop_.last_loss = parts.front();
  require_finite(loop_.last_loss, step_);
}

Summary Trainer::Implementation::train() {
  describe_run();
  start_ = Clock::now();
  first_step_ = step_;
  seconds_before_ = loop_.seconds;
  const RunOptions& run = config_.run;
  std::int64_t before = step_;
  // A worker's steps may lie in between.
  const auto due = [&](std::int64_t every) { return every > 0 && step_ / every > before / every; };
  bool saw_off = false;
  std::int64_t failures = 0;
  std::int64_t went_back = optimizer_->status().ledger.went_back;
  bool stopped = stops(/*logged=*/true);
  if (step_ >= run.steps) {
    note("all " + std::to_string(run.steps) + " steps are done: a larger run.steps goes on");
  }
  torch::Tensor loss;
  while (step_ < run.steps && !stopped && !reached_target()) {
    before = step_;
    profile(/*ends=*/false);
    loss = train_step_in_memory();
    const bool last = step_ == run.steps;
    // Before a checkpoint too, so that weights that diverged never replace good ones. Waits for the
    // device.
    if (due(run.log_every) || due(run.checkpoint_every) || due(run.eval_every) || last ||
        before == first_step_) {
      check_loss(loss);
    }
    log(due(run.log_every) || last);
    stopped = stops(due(run.log_every));
    if (due(run.eval_every) && !last) {
      const double validated = validate().loss;
      note("step " + std::to_string(step_) + ": validation loss " +
           number_text(std::round(validated * 1e4) / 1e4));
      if (run.keep_best && loop_.best_step == step_) save();
    }
    // The last follows its validation.
    if (due(run.checkpoint_every) && saved_step_ != step_ && !last) save();
    const Status status = optimizer_->status();
    if (status.ledger.went_back > went_back) {
      went_back = status.ledger.went_back;
      const std::int64_t best = status.best_step;
      note("step " + std::to_string(step_) + ": went back to " +
           (best == 0 ? "where the run began" : "the average of step " + std::to_string(best)) +
           ", which is better on held-out data");
    }
    if (!saw_off && !status.off_reason.empty()) {
      saw_off = true;
      note((has_free_rate() ? "no looks from here on: " : "leaps are off from here on: ") +
           status.off_reason);
    }
    if (speculation_ && speculation_->failures() > failures) {
      failures = speculation_->failures();
      const bool last_worker = !speculation_->off_reason().empty();
      note((last_worker ? "no worker from here on: "
                        : "a worker failed, the next job takes another: ") +
           speculation_->last_failure());
    }
  }
  profile(/*ends=*/true);
  progress_.finish();
  if (step_ == run.steps || reached_target()) validate();
  if (saved_step_ != step_) {
    check_loss(loss);
    save();
  }
  return summary();
}

Summary Trainer::Implementation::summary() {
  const Status status = optimizer_->status();
  Summary result;
  result.step = step_;
  result.reached_target = step_ < config_.run.steps && reached_target();
  result.interrupted = step_ < config_.run.steps && !result.reached_target;
  result.train_loss = loop_.last_loss;
  result.validation_loss = std::nan("");
  if (config_.run.keep_best && loop_.best_step > 0) {
    result.best_step = loop_.best_step;
    result.best_validation_loss = loop_.best_loss;
  }
  if (!result.interrupted) {
    const ValidationMetrics& validation = validate();
    result.validation_loss = validation.loss;
    result.average_validation_loss = validation.average_loss;
  }
  result.seconds = seconds_before_ + seconds_since(start_);
  result.tokens = step_ * tokens_of_step();
  result.peak_memory_bytes = peak_memory(settings_.device);
  result.ledger = status.ledger;
  result.overhead = status.overhead;
  result.learning_rate_scale = status.learning_rate_scale;
  result.learning_rate = learning_rate_;
  result.off_reason = status.off_reason;
  if (speculation_) result.handoffs = speculation_->handoffs();
  if (!result.interrupted && first()) at_result([&] { result.sample = sample(); });
  return result;
}

std::string Trainer::Implementation::sample() {
  if (config_.run.sample_bytes == 0) return "";
  const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
  // A model that is trained on bytes may know more tokens than these.
  const std::int64_t choices = text_.is_bytes() ? 256 : std::numeric_limits<std::int64_t>::max();
  return sample_text(models::sample(*model_, {text_.prompt()}, config_.run.sample_bytes, 0.8,
                                    static_cast<std::uint64_t>(config_.run.seed), choices),
                     text_.is_bytes());
}

void Trainer::Implementation::save() {
  require_finite(*model_, step_);
  const std::vector<RandomState> random = gather_random_states(ranks_, settings_.device);
  succeed_together(ranks_, [&] {
    // The weights of training follow from what LeapVerify keeps.
    if (first()) at_result([&] { write_checkpoint(random); });
  });
  saved_step_ = step_;
}

void Trainer::Implementation::write_checkpoint(const std::vector<RandomState>& random) {
  trace_->sync();
  metrics_->sync();
  loop_.seconds = seconds_before_ + seconds_since(start_);
  Checkpoint checkpoint = checkpoint_of(parts(), step_, random);
  if (speculation_) {
    LeapVerifyState state = speculation_->state();
    checkpoint.json["speculation"] = std::move(state.json);
    checkpoint.tensors["speculation"] = std::move(state.tensors);
  }
  loop_.position = steps_.position();
  loop_.ranks = ranks_.size();
  loop_.trace_bytes = trace_->bytes();
  loop_.metrics_bytes = metrics_->bytes();
  loop_.text_hashes = text_hashes();
  loop_.config = config_values(config_);
  checkpoint.json["trainer"] = to_json(loop_);
  const bool keeps_best = config_.run.keep_best && loop_.best_step > 0;
  save_checkpoint(run_, checkpoint, config_.run.keep_checkpoints,
                  keeps_best ? std::optional(loop_.best_step) : std::nullopt);
  // Only now, so that settings with which a run fails at once are not those it goes on with.
  if (!changes_.empty()) replace_file(run_ / "config.yaml", to_yaml(config_));
}

void Trainer::Implementation::restore(const Resume& resume) {
  const Checkpoint checkpoint = load_or_name_others(run_, resume.step);
  const std::string source = run_.string();
  step_ = saved_step_ = checkpoint.step;
  if (step_ > config_.run.steps) {
    throw InvalidOption("run.steps", std::to_string(config_.run.steps),
                        "at least the " + std::to_string(step_) + " steps done already");
  }
  loop_ = loop_state_from(json_part(checkpoint, "trainer", source), source);
  changes_ = config_changes(loop_.config, config_);
  refuse_another_model(changes_);
  if (loop_.ranks != ranks_.size() && !resume.other_ranks) {
    throw Error(source + ": trained by " + count_of_ranks(loop_.ranks) + " and resumed by " +
                count_of_ranks(ranks_.size()) +
                ": --other-ranks goes on so, with other random numbers for dropout");
  }
  if (loop_.ranks != ranks_.size()) {
    changes_.push_back({"ranks", std::to_string(loop_.ranks), std::to_string(ranks_.size())});
  }
  // The best may never have been kept, or be gone since.
  if (config_.run.keep_best &&
      !fs::exists(run_ / "checkpoints" / ("step-" + std::to_string(loop_.best_step)))) {
    loop_.best_step = 0;
    loop_.best_loss = std::numeric_limits<double>::infinity();
  }
  if (loop_.text_hashes != text_hashes()) {
    throw data::DataError(config_.data.path, "holds other text than the run began with",
                          "the same text, so that the run goes on as it would have");
  }
  restore_parts(parts(), checkpoint, source);
  // The weights of a checkpoint are what the run is for; those of training are made of what is kept
  // beside them, before the next gradient is.
  at_result([] {});
  steps_.seek(loop_.position);
  if (speculation_ && checkpoint.json.count("speculation") > 0) {
    const auto tensors = checkpoint.tensors.find("speculation");
    speculation_->restore({checkpoint.json.at("speculation"),
                           tensors == checkpoint.tensors.end() ? NamedTensors() : tensors->second});
  }
  if (loop_.ranks == ranks_.size()) {
    restore_random_state(random_state_of(checkpoint, ranks_.rank(), source), settings_.device);
  } else {
    seed_rank(config_, launch_, step_);
  }
}

Trainer::Trainer(const Config& config, const fs::path& run, const std::optional<Resume>& resume,
                 const distributed::Ranks& ranks) {
  try {
    succeed_together(*ranks.communicator, [&] {
      implementation_ = std::make_unique<Implementation>(config, run, ranks);
    });
    implementation_->begin(resume);
  } catch (const InvalidOption& error) {
    if (error.field() != "gate set") throw;
    throw data::DataError(
        config.data.path, "gives a gate set of " + error.value(),
        error.legal() +
            "; more data, a larger data.gate_share, a smaller batch.context or smaller "
            "leapverify.verification.sequences and max_sequences would do");
  }
}

Trainer::~Trainer() = default;

Summary Trainer::train() { return implementation_->train(); }

void Trainer::request_stop() { stop_requested = true; }

bool Trainer::stop_is_requested() { return stop_requested; }

}  // namespace leapverify::trainer

#include <leapverify/integrations/data/text.h>
#include <leapverify/integrations/models/pretrained_model.h>
#include <leapverify/integrations/models/sample.h>
#include <leapverify/integrations/trainer/base_optimizer.h>
#include <leapverify/integrations/trainer/batch_loader.h>
#include <leapverify/integrations/trainer/clip_gradients.h>
#include <leapverify/integrations/trainer/config_changes.h>
#include <leapverify/integrations/trainer/language_evaluator.h>
#include <leapverify/integrations/trainer/metrics.h>
#include <leapverify/integrations/trainer/peak_memory.h>
#include <leapverify/integrations/trainer/progress.h>
#include <leapverify/integrations/trainer/run_checkpoint.h>
#include <leapverify/integrations/trainer/run_folder.h>
#include <leapverify/integrations/trainer/schedule.h>
#include <leapverify/integrations/trainer/start_lines.h>
#include <leapverify/integrations/trainer/trainer.h>
#include <leapverify/integrations/trainer/training_passes.h>
#include <leapverify/runtime/batch_norm.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/strict_json.h>
#include <leapverify/runtime/trace.h>
#include <leapverify/runtime/vector_math.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

namespace leapverify::trainer {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

std::atomic<bool> stop_requested{false};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

torch::Device choose_device(DeviceChoice choice) {
  const bool available = torch::cuda::is_available();
  if (choice == DeviceChoice::kCuda && !available) {
    throw InvalidOption("run.device", "cuda", "cpu or auto: this machine shows no CUDA device");
  }
  const bool cuda = choice == DeviceChoice::kCuda || (choice == DeviceChoice::kAuto && available);
  return cuda ? torch::Device(torch::kCUDA, 0) : torch::Device(torch::kCPU);
}

/// Precisions and sizes that the device, the model and the text allow.
PassSettings pass_settings(const Config& config) {
  const torch::Device device = choose_device(config.run.device);
  if (config.run.precision == Precision::kTf32 && !device.is_cuda()) {
    throw InvalidOption("run.precision", "tf32", "fp32 or bf16: the run is on the CPU");
  }
  at::globalContext().setAllowTF32CuBLAS(config.run.precision == Precision::kTf32);
  const models::ModelSize size = models::model_size(config.model);
  if (config.batch.context > size.context) {
    throw InvalidOption("batch.context", std::to_string(config.batch.context),
                        "at most the " + std::to_string(size.context) + " that the model takes");
  }
  models::AutocastState autocast;
  autocast.enabled = config.run.precision == Precision::kBf16;
  const std::int64_t context = config.batch.context > 0 ? config.batch.context : size.context;
  return {device, autocast, context, config.batch.sequences};
}

std::vector<torch::Tensor> trained_parameters(const torch::nn::Module& model) {
  std::vector<torch::Tensor> trained;
  for (const torch::Tensor& parameter : model.parameters()) {
    if (parameter.requires_grad()) trained.push_back(parameter);
  }
  return trained;
}

void check_batch_norm(const Options& options, torch::nn::Module& model) {
  if (!options.enabled || options.batch_norm == BatchNormPolicy::kKeep) return;
  if (!running_statistics(model).empty()) return;
  throw InvalidOption("leapverify.batch_norm", name_of(options.batch_norm),
                      "keep: the model has no batch norm");
}

/// Seeds first: the model's initial weights are drawn when it is made.
std::shared_ptr<models::PretrainedModel> make_seeded_model(const Config& config,
                                                           torch::Device device) {
  resolve_vector_math();
  if (config.run.threads > 0) torch::set_num_threads(static_cast<int>(config.run.threads));
  torch::manual_seed(static_cast<std::uint64_t>(config.run.seed));
  std::shared_ptr<models::PretrainedModel> model = models::make_model(config.model);
  check_batch_norm(config.leapverify.options, *model);
  model->to(device);
  model->train();
  return model;
}

/// Tokens of a tokenizer stay numbers: only it can decode them.
std::string sample_text(const std::vector<std::int64_t>& tokens, bool bytes) {
  std::string text = bytes ? "" : "(numbers of tokens)";
  for (const std::int64_t token : tokens) {
    if (bytes) {
      text += static_cast<char>(token);
    } else {
      text += " " + std::to_string(token);
    }
  }
  return text;
}

/// What the loop itself keeps beside the steps.
struct LoopState {
  double seconds = 0;
  double last_loss = 0;
  std::int64_t trace_bytes = 0;
  std::int64_t metrics_bytes = 0;
};

}  // namespace

class Trainer::Implementation : public StepRunner {
 public:
  Implementation(const Config& config, const fs::path& run, bool resume,
                 std::optional<std::int64_t> step)
      : config_(config),
        run_(run),
        settings_(pass_settings(config)),
        text_(config.data, models::model_size(config.model).vocabulary, settings_.context,
              config.batch.sequences_of_step()),
        model_(make_seeded_model(config, settings_.device)),
        base_(make_base_optimizer(config.optimizer, trained_parameters(*model_))),
        batches_(text_, config.batch.sequences_of_step(), settings_),
        passes_(*model_, settings_),
        evaluator_(*model_, text_, config.batch.sequences_of_step(), settings_),
        optimizer_(
            *base_, *model_, config.leapverify.options, evaluator_,
            [this](const std::string& event) { trace_->write(event); }, this) {
    // Only now, so that a run that cannot start leaves no folder behind.
    if (resume) {
      restore(step);
      replace_file(run_ / "config.yaml", to_yaml(config_));
      // Before trace and metrics are cut, or a run that is killed would go on after what they lack.
      if (step) make_latest(run_, *step);
    } else {
      create_run_folder(run_, to_yaml(config_));
    }
    trace_ = std::make_unique<TraceFile>(run_ / "trace.jsonl", loop_.trace_bytes);
    metrics_ = std::make_unique<TraceFile>(run_ / "metrics.jsonl", loop_.metrics_bytes);
    if (!changes_.empty()) trace_->write(config_event(step_, changes_));
  }

  Summary train();

  TrainingPosition position() const override { return position_; }
  void seek(const TrainingPosition& position) override { position_ = position; }
  void backward() override;

 private:
  const Options& leaps() const { return config_.leapverify.options; }
  /// Of train, gate and validation, which a resumed run must find unchanged.
  std::vector<std::uint64_t> text_hashes() const {
    const data::TextSummary& text = text_.summary();
    return {text.train.hash, text.gate.hash, text.validation.hash};
  }
  std::int64_t tokens_of_step() const {
    return config_.batch.sequences_of_step() * settings_.context;
  }
  void describe_run();
  torch::Tensor train_step();
  /// The batch at the data position, with the learning rate set that the schedule says; moves both
  /// positions on.
  TokenBatch take_batch();
  double rate_in_force() const {
    return base_->param_groups().front().options().get_lr() * optimizer_.status().step_scale;
  }
  /// Gradients of the batch, with its loss.
  torch::Tensor gradients_of(const TokenBatch& batch);
  TrainingBatch next_batch(const TokenBatch& batch);
  /// Validation losses of now, which go to the metrics too.
  ValidationMetrics validate();
  void log(bool keep);
  TrainedParts parts() { return {*model_, *base_, optimizer_, settings_.device}; }
  void save();
  void restore(std::optional<std::int64_t> step);
  void restore_loop(const std::string& text, const std::string& source);
  Summary summary();

  Config config_;
  fs::path run_;
  PassSettings settings_;
  data::Text text_;
  std::shared_ptr<models::PretrainedModel> model_;
  std::unique_ptr<torch::optim::Optimizer> base_;
  BatchLoader batches_;
  TrainingPasses passes_;
  LanguageEvaluator evaluator_;
  std::unique_ptr<TraceFile> trace_;
  std::unique_ptr<TraceFile> metrics_;
  LeapVerify optimizer_;
  ProgressBar progress_;

  std::int64_t step_ = 0;
  /// Of the config, since the checkpoint that the run was resumed from.
  std::vector<ConfigChange> changes_;
  TrainingPosition position_;
  torch::Tensor loss_;
  double learning_rate_ = 0;
  LoopState loop_;
  std::int64_t first_step_ = 0;
  double seconds_before_ = 0;
  Clock::time_point start_;
};

void Trainer::Implementation::describe_run() {
  const StartFacts facts{config_,   run_.string(), text_, *model_,
                         settings_, optimizer_,    step_, changes_};
  for (const std::string& line : start_lines(facts)) progress_.note(line);
}

TokenBatch Trainer::Implementation::take_batch() {
  // After leaps that advance it the schedule may be over before the run is.
  const std::int64_t step = std::min(position_.schedule + 1, config_.run.steps);
  const double rate =
      config_.optimizer.lr * schedule_factor(config_.schedule, step, config_.run.steps);
  for (auto& group : base_->param_groups()) group.options().set_lr(rate);
  ++position_.schedule;
  return batches_.take(position_.data++);
}

void Trainer::Implementation::backward() { loss_ = gradients_of(take_batch()); }

torch::Tensor Trainer::Implementation::gradients_of(const TokenBatch& batch) {
  optimizer_.zero_grad();
  torch::Tensor loss = passes_.backward(batch);
  if (config_.optimizer.clip > 0) clip_gradients(model_->parameters(), config_.optimizer.clip);
  return loss;
}

TrainingBatch Trainer::Implementation::next_batch(const TokenBatch& batch) {
  return {config_.batch.sequences_of_step(),
          [this, batch] { return passes_.sequence_losses(batch); },
          [this, batch] { return gradients_of(batch); },
          // Drawn at random: after a quarter of an epoch a fifth of a batch was trained on before.
          4 * position_.data * tokens_of_step() > text_.summary().train.tokens};
}

torch::Tensor Trainer::Implementation::train_step() {
  torch::Tensor loss;
  if (leaps().enabled && leaps().gate == GateSource::kNextBatch) {
    loss = optimizer_.step(next_batch(take_batch()));
  } else {
    backward();
    // Rehearsals within step() make losses of their own.
    loss = loss_;
    optimizer_.step();
  }
  learning_rate_ = rate_in_force();
  ++step_;
  return loss;
}

ValidationMetrics Trainer::Implementation::validate() {
  const auto loss = [this] {
    return validation_loss(*model_, text_, config_.run.eval_sequences, settings_);
  };
  ValidationMetrics metrics{step_, loss(), std::nullopt};
  if (config_.run.eval_average && optimizer_.has_average()) {
    optimizer_.at_average([&] { metrics.average_loss = loss(); });
  }
  metrics_->write(to_json(metrics));
  return metrics;
}

void Trainer::Implementation::log(bool keep) {
  const Status status = optimizer_.status();
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
  progress_.update(state, keep);
  if (keep) {
    metrics_->write(
        to_json(TrainMetrics{step_, loop_.last_loss, learning_rate_, state.tokens_per_second,
                             seconds_before_ + seconds, peak_memory(settings_.device)}));
  }
}

Summary Trainer::Implementation::train() {
  describe_run();
  start_ = Clock::now();
  first_step_ = step_;
  seconds_before_ = loop_.seconds;
  const RunOptions& run = config_.run;
  const auto due = [this](std::int64_t every) { return every > 0 && step_ % every == 0; };
  bool saved = false;
  bool saw_off = false;
  while (step_ < run.steps && !stop_requested) {
    const torch::Tensor loss = train_step();
    const bool last = step_ == run.steps;
    // Before a checkpoint too, so that weights that diverged never replace good ones.
    if (due(run.log_every) || due(run.checkpoint_every) || last || step_ == first_step_ + 1) {
      loop_.last_loss = loss.item<double>();
      if (!std::isfinite(loop_.last_loss)) {
        progress_.finish();
        throw Error("training loss is " + number_text(loop_.last_loss) + " at step " +
                    std::to_string(step_) +
                    "; a lower optimizer.lr may help. The last checkpoint "
                    "is kept");
      }
    }
    log(due(run.log_every) || last);
    if (due(run.eval_every) && !last) {
      progress_.note("step " + std::to_string(step_) + ": validation loss " +
                     number_text(std::round(validate().loss * 1e4) / 1e4));
    }
    saved = due(run.checkpoint_every);
    if (saved) save();
    if (!saw_off && !optimizer_.status().off_reason.empty()) {
      saw_off = true;
      progress_.note("leaps are off from here on: " + optimizer_.status().off_reason);
    }
  }
  progress_.finish();
  // First of all what was trained is brought to safety.
  if (!saved && step_ > first_step_) save();
  return summary();
}

Summary Trainer::Implementation::summary() {
  const Status status = optimizer_.status();
  Summary result;
  result.step = step_;
  result.interrupted = step_ < config_.run.steps;
  result.train_loss = loop_.last_loss;
  result.validation_loss = std::nan("");
  if (!result.interrupted) {
    const ValidationMetrics validation = validate();
    result.validation_loss = validation.loss;
    result.average_validation_loss = validation.average_loss;
  }
  result.seconds = seconds_before_ + seconds_since(start_);
  result.tokens = step_ * tokens_of_step();
  result.peak_memory_bytes = peak_memory(settings_.device);
  result.ledger = status.ledger;
  result.overhead = status.overhead;
  result.learning_rate_scale = status.learning_rate_scale;
  result.off_reason = status.off_reason;
  if (!result.interrupted && config_.run.sample_bytes > 0) {
    const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
    const std::vector<std::int64_t> tokens =
        models::sample(*model_, {text_.prompt()}, config_.run.sample_bytes, 0.8,
                       static_cast<std::uint64_t>(config_.run.seed));
    result.sample = sample_text(tokens, text_.is_bytes());
  }
  return result;
}

void Trainer::Implementation::save() {
  trace_->sync();
  metrics_->sync();
  loop_.seconds = seconds_before_ + seconds_since(start_);
  Checkpoint checkpoint = checkpoint_of(parts(), step_);
  const json trainer = {
      {"data_position", position_.data}, {"schedule_position", position_.schedule},
      {"seconds", loop_.seconds},        {"last_loss", loop_.last_loss},
      {"trace_bytes", trace_->bytes()},  {"metrics_bytes", metrics_->bytes()},
      {"text_hashes", text_hashes()},    {"config", config_values(config_)}};
  checkpoint.json["trainer"] = trainer.dump();
  save_checkpoint(run_, checkpoint, config_.run.keep_checkpoints);
}

void Trainer::Implementation::restore(std::optional<std::int64_t> step) {
  const Checkpoint checkpoint = load_or_name_others(run_, step);
  const std::string source = run_.string();
  step_ = checkpoint.step;
  if (step_ > config_.run.steps) {
    throw InvalidOption("run.steps", std::to_string(config_.run.steps),
                        "at least the " + std::to_string(step_) + " steps done already");
  }
  restore_loop(json_part(checkpoint, "trainer", source), source);
  restore_parts(parts(), checkpoint, source);
}

void Trainer::Implementation::restore_loop(const std::string& text, const std::string& source) {
  try {
    const json trainer = json::parse(text);
    position_ = {trainer.at("data_position"), trainer.at("schedule_position")};
    loop_.seconds = trainer.at("seconds");
    loop_.last_loss = trainer.at("last_loss");
    loop_.trace_bytes = trainer.at("trace_bytes");
    loop_.metrics_bytes = trainer.at("metrics_bytes");
    changes_ =
        config_changes(trainer.at("config").get<std::map<std::string, std::string>>(), config_);
    if (trainer.at("text_hashes") != json(text_hashes())) {
      throw data::DataError(config_.data.path, "other text than the run began with",
                            "the same text, so that the run goes on as it would have");
    }
  } catch (const json::exception& error) {
    throw FormatError(source + ": bad state of the training loop: " + json_words(error));
  }
}

Trainer::Trainer(const Config& config, const fs::path& run, bool resume,
                 std::optional<std::int64_t> step)
    : implementation_(std::make_unique<Implementation>(config, run, resume, step)) {}

Trainer::~Trainer() = default;

Summary Trainer::train() { return implementation_->train(); }

void Trainer::request_stop() { stop_requested = true; }

}  // namespace leapverify::trainer

// The training loop: model, data, optimizer, leaps, metrics and checkpoints of one run.
#pragma once

#include <leapverify/integrations/trainer/config.h>
#include <leapverify/runtime/policy/controller.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace leapverify::trainer {

/// How a run ended.
struct Summary {
  std::int64_t step = 0;
  bool interrupted = false;
  double train_loss = 0;
  double validation_loss = 0;
  bool reached_target = false;
  /// The step of the checkpoint that run.keep_best keeps, and its validation loss.
  std::optional<std::int64_t> best_step;
  double best_validation_loss = 0;
  /// At the average of the recent weights, with run.eval_average.
  std::optional<double> average_validation_loss;
  double seconds = 0;
  std::int64_t tokens = 0;
  std::int64_t peak_memory_bytes = 0;
  policy::Ledger ledger;
  double overhead = 0;
  /// At the end, the factor on the scheduled learning rate.
  double learning_rate_scale = 1;
  std::string off_reason;
  std::string sample;
};

/// Trains into a run folder that exists and holds the config.
class Trainer {
 public:
  /// Loads the data and builds everything; with `resume`, from the run's latest checkpoint, or from
  /// that of `step`, after which trace and metrics are then cut.
  /// Throws one of LeapVerify's errors before any training when something does not fit.
  Trainer(const Config& config, const std::filesystem::path& run, bool resume,
          std::optional<std::int64_t> step = std::nullopt);
  ~Trainer();

  /// Trains to the last step, or to the next step after `request_stop`, and leaves a checkpoint
  /// there.
  Summary train();

  /// Async-signal-safe.
  static void request_stop();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace leapverify::trainer

// The training loop: model, data, optimizer, leaps, metrics and checkpoints of one run.
#pragma once

#include <leapverify/integrations/distributed/join.h>
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
  /// As the last step was taken with it.
  double learning_rate = 0;
  std::string off_reason;
  /// With speculation.steps: results of the worker that were taken over.
  std::optional<std::int64_t> handoffs;
  std::string sample;
};

/// How a run goes on.
struct Resume {
  /// From the checkpoint of this step, after which trace and metrics are cut; else from the latest.
  std::optional<std::int64_t> step;
  /// Also where it was trained by another number of ranks.
  bool other_ranks = false;
};

/// Trains into a run folder. Several ranks train together, each on its part of every batch; the folder
/// is the first's to write, and all must be able to read it. Constructor and train() are called on
/// every rank; what throws in the constructor on one throws on all.
class Trainer {
 public:
  /// Loads the data and builds everything; `ranks` must outlive this.
  /// Throws one of LeapVerify's errors before any training when something does not fit.
  Trainer(const Config& config, const std::filesystem::path& run,
          const std::optional<Resume>& resume, const distributed::Ranks& ranks);
  ~Trainer();

  /// Trains to the last step, or to one soon after `request_stop` (with one process the next, with
  /// several the next that is logged), and leaves a checkpoint there.
  Summary train();

  /// Async-signal-safe.
  static void request_stop();
  static bool stop_is_requested();

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace leapverify::trainer

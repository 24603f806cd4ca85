// What a training loop keeps beside the model and its optimizers, and writes into checkpoints.
#pragma once

#include <leapverify/runtime/step_runner.h>

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace leapverify::trainer {

struct LoopState {
  TrainingPosition position;
  double seconds = 0;
  /// That trained together.
  int ranks = 1;
  double last_loss = 0;
  /// The lowest validation loss so far, and where it was; none at step 0.
  double best_loss = std::numeric_limits<double>::infinity();
  std::int64_t best_step = 0;
  /// The last validation in the metrics; none at step 0.
  std::int64_t validated_step = 0;
  double validated_loss = std::numeric_limits<double>::infinity();
  /// How much of trace and metrics was written by then.
  std::int64_t trace_bytes = 0;
  std::int64_t metrics_bytes = 0;
  /// Of train, gate and validation, which a resumed run must find unchanged.
  std::vector<std::uint64_t> text_hashes;
  /// config_values() of then.
  std::map<std::string, std::string> config;
};

std::string to_json(const LoopState& state);

/// Throws FormatError, which names `source`.
LoopState loop_state_from(const std::string& text, const std::string& source);

}  // namespace leapverify::trainer

// metrics.jsonl: losses and speed over the steps, one JSON object a line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace leapverify::trainer {

struct TrainMetrics {
  std::int64_t step = 0;
  /// Mean over the batch of that step, nats per token.
  double loss = 0;
  double learning_rate = 0;
  double tokens_per_second = 0;
  double seconds = 0;
  std::int64_t peak_memory_bytes = 0;
};

std::string to_json(const TrainMetrics& metrics);
struct ValidationMetrics {
  std::int64_t step = 0;
  double loss = 0;
  /// At the average of the recent weights, where that was asked for.
  std::optional<double> average_loss;
  /// run.target_loss.
  bool reached_target = false;
};

std::string to_json(const ValidationMetrics& metrics);

}  // namespace leapverify::trainer

// metrics.jsonl: losses and speed over the steps, one JSON object a line.
#pragma once

#include <cstdint>
#include <string>

namespace leapverify::trainer {

struct TrainMetrics {
  std::int64_t step = 0;
  /// Mean over the batch of that step, nats per token.
  double loss = 0;
  double learning_rate = 0;
  double tokens_per_second = 0;
  double seconds = 0;
};

std::string to_json(const TrainMetrics& metrics);
std::string validation_json(std::int64_t step, double loss);

}  // namespace leapverify::trainer

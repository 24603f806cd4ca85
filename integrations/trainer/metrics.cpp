#include <leapverify/integrations/trainer/metrics.h>

#include <nlohmann/json.hpp>

namespace leapverify::trainer {

std::string to_json(const TrainMetrics& metrics) {
  const nlohmann::ordered_json line = {
      {"step", metrics.step},        {"train_loss", metrics.loss},
      {"lr", metrics.learning_rate}, {"tokens_per_second", metrics.tokens_per_second},
      {"seconds", metrics.seconds},  {"peak_memory_bytes", metrics.peak_memory_bytes}};
  return line.dump();
}

std::string to_json(const ValidationMetrics& metrics) {
  nlohmann::ordered_json line = {{"step", metrics.step}, {"validation_loss", metrics.loss}};
  if (metrics.average_loss) line["average_validation_loss"] = *metrics.average_loss;
  if (metrics.reached_target) line["reached_target"] = true;
  return line.dump();
}

}  // namespace leapverify::trainer

#include <leapverify/integrations/trainer/metrics.h>

#include <nlohmann/json.hpp>

namespace leapverify::trainer {

std::string to_json(const TrainMetrics& metrics) {
  const nlohmann::ordered_json line = {{"step", metrics.step},
                                       {"train_loss", metrics.loss},
                                       {"lr", metrics.learning_rate},
                                       {"tokens_per_second", metrics.tokens_per_second},
                                       {"seconds", metrics.seconds}};
  return line.dump();
}

std::string validation_json(std::int64_t step, double loss) {
  const nlohmann::ordered_json line = {{"step", step}, {"validation_loss", loss}};
  return line.dump();
}

}  // namespace leapverify::trainer

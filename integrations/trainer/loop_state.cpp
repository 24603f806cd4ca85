#include <leapverify/integrations/trainer/loop_state.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/strict_json.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace leapverify::trainer {

using nlohmann::json;

std::string to_json(const LoopState& state) {
  json text = {{"data_position", state.position.data},
               {"schedule_position", state.position.schedule},
               {"seconds", state.seconds},
               {"ranks", state.ranks},
               {"last_loss", state.last_loss},
               {"best_step", state.best_step},
               {"validated_step", state.validated_step},
               {"trace_bytes", state.trace_bytes},
               {"metrics_bytes", state.metrics_bytes},
               {"text_hashes", state.text_hashes},
               {"config", state.config}};
  // JSON has no infinity.
  if (state.best_step > 0) text["best_loss"] = state.best_loss;
  if (std::isfinite(state.validated_loss)) text["validated_loss"] = state.validated_loss;
  return text.dump();
}

LoopState loop_state_from(const std::string& text, const std::string& source) {
  try {
    const json read = json::parse(text);
    LoopState state;
    state.position = {read.at("data_position"), read.at("schedule_position")};
    state.seconds = read.at("seconds");
    state.ranks = read.value("ranks", 1);
    state.last_loss = read.at("last_loss");
    state.best_step = read.at("best_step");
    state.validated_step = read.at("validated_step");
    if (read.contains("validated_loss")) state.validated_loss = read.at("validated_loss");
    if (state.best_step > 0) state.best_loss = read.at("best_loss");
    state.trace_bytes = read.at("trace_bytes");
    state.metrics_bytes = read.at("metrics_bytes");
    state.text_hashes = read.at("text_hashes").get<std::vector<std::uint64_t>>();
    state.config = read.at("config").get<std::map<std::string, std::string>>();
    return state;
  } catch (const json::exception& error) {
    throw FormatError(source + ": bad state of the training loop: " + json_words(error));
  }
}

}  // namespace leapverify::trainer

#include <leapverify/integrations/trainer/calibrate.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/run_folder.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/error_text.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

namespace leapverify::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Numbers that are not finite stand in a trace as text.
double number_from(const json& value) {
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

void for_each_event(const fs::path& run, const std::function<void(const json&)>& visit) {
  const fs::path path = run / "trace.jsonl";
  if (!fs::exists(path)) throw FileError(run.string() + ": the run has no trace.jsonl");
  std::ifstream file(path);
  std::int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (file.eof()) break;  // without its line break: the run was killed while it wrote
    try {
      visit(json::parse(line));
    } catch (const json::exception& error) {
      throw CalibrationError(path.string() + ":" + std::to_string(number) +
                             ": not an event of this version's trace: " + error_text(error));
    }
  }
}

/// What the signals of a trace depend on must be what the config says, all along.
void check_settings(const json& traced, const Options& options, const fs::path& run) {
  const json expected = {{"detector.signal", name_of(options.detector.signal)},
                         {"detector.per_rate", options.detector.per_rate},
                         {"observe_every", options.observe_every}};
  for (const auto& [name, value] : expected.items()) {
    if (traced.at(name) == value) continue;
    throw CalibrationError(run.string() + ": leapverify." + name + " was " +
                           traced.at(name).dump() + " in a part of the trace, and is " +
                           value.dump() + " in the config");
  }
}

std::vector<double> signals_of(const fs::path& run, const Options& options) {
  std::vector<CosineAtRate> measured;
  double largest_rate = 0;
  for_each_event(run, [&](const json& event) {
    if (event.contains("options")) check_settings(event.at("options"), options, run);
    if (!event.contains("signal")) return;
    if (options.detector.per_rate) {
      measured.push_back({number_from(event.at("cosine")), number_from(event.at("rate"))});
      largest_rate = std::max(largest_rate, measured.back().rate);
    } else {
      measured.push_back({number_from(event.at("signal")), 0});
    }
  });
  return finite_signals(measured, largest_rate, options.detector);
}

}  // namespace

std::string calibrate_regimes(const fs::path& run) {
  const Options options = load_config("", config_of_run(run).string(), {}).leapverify.options;
  const DetectorOptions& detector = options.detector;
  const std::vector<double> signals = signals_of(run, options);
  const std::string count = std::to_string(signals.size());
  if (static_cast<std::int64_t>(signals.size()) < detector.burn_in) {
    throw CalibrationError(run.string() + ": the trace has " + count + " signals (" +
                           name_of(detector.signal) + "), and detector.burn_in asks for at least " +
                           std::to_string(detector.burn_in));
  }
  const Thresholds thresholds = thresholds_of(signals, detector);
  const std::string stable = number_text(thresholds.stable_at_least);
  const std::string chaotic = number_text(thresholds.chaotic_at_most);
  if (thresholds.chaotic_at_most >= thresholds.stable_at_least) {
    throw CalibrationError(run.string() + ": both percentiles of its " + count + " signals are " +
                           stable + ", which tells no regimes apart");
  }
  // Each key in full, since a config that has the group already may not give it twice.
  const std::string group = "leapverify.detector.";
  return "# Percentiles " + number_text(detector.stable_percentile) + " and " +
         number_text(detector.chaotic_percentile) + " of " + count + " signals, taken every " +
         std::to_string(options.observe_every) +
         " steps with reference: " + name_of(options.reference) +
         "\n# For the end of a config without these keys, or each as --set KEY=VALUE.\n" + group +
         "signal: " + name_of(detector.signal) + "\n" + group +
         "per_rate: " + (detector.per_rate ? "true" : "false") + "\n" + group +
         "thresholds: fixed\n" + group + "stable_at_least: " + stable + "\n" + group +
         "chaotic_at_most: " + chaotic + "\n";
}

}  // namespace leapverify::trainer

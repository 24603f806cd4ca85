// The folder of a run: config.yaml, trace.jsonl, metrics.jsonl, checkpoints/.
#pragma once

#include <filesystem>
#include <string>

namespace leapverify::trainer {

/// Makes a new run folder with its config.yaml. Throws FileError when the folder exists and is not
/// empty, or cannot be written; what was there is not touched.
void create_run_folder(const std::filesystem::path& run, const std::string& config_yaml);

/// The config.yaml of a run. Throws FileError when `run` is no run folder.
std::filesystem::path config_of_run(const std::filesystem::path& run);

/// "runs/2026-01-31-14-05-09", or with a suffix when that is taken.
std::filesystem::path fresh_run_name();

}  // namespace leapverify::trainer

// Jobs and results of speculative workers as files.
#pragma once

#include <leapverify/runtime/speculative_job.h>

#include <filesystem>

namespace leapverify::trainer {

void write_job(const std::filesystem::path& folder, const SpeculativeJob& job);
/// These throw FileError and FormatError.
SpeculativeJob read_job(const std::filesystem::path& folder);
void write_result(const std::filesystem::path& folder, const SpeculativeResult& result);
SpeculativeResult read_result(const std::filesystem::path& folder);

}  // namespace leapverify::trainer

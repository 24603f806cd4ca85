// From a run to a folder that transformers or PEFT reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace leapverify::trainer {

/// Writes the model of a run's latest checkpoint, or of that of `step`, as that checkpoint's config has
/// it: as save_pretrained() does, or as save_lora() its adapters where it has some, unless they are to
/// be `merged` into it.
/// Throws one of LeapVerify's errors when the run, the checkpoint or the folder cannot be used.
void export_model(const std::filesystem::path& run, std::optional<std::int64_t> step,
                  const std::filesystem::path& folder, bool merged);

}  // namespace leapverify::trainer

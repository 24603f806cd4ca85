// A checkpoint on disk: checkpoints/step-N/ with safetensors for every tensor and JSON for the
// rest. It is written to a temporary folder, synced, renamed, and pointed to last, so that a
// process that dies at any moment leaves the checkpoint before it intact.
#pragma once

#include <leapverify/runtime/safetensors.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

namespace leapverify {

/// Everything that makes a run go on bitwise.
struct Checkpoint {
  std::int64_t step = 0;
  /// File stem → tensors: "model", "optimizer", "leapverify", "random".
  std::map<std::string, NamedTensors> tensors;
  /// JSON by the same names, and "trainer" for what the training loop itself keeps.
  std::map<std::string, std::string> json;
};

/// Version of the format; newer ones are refused.
inline constexpr int kCheckpointFormat = 2;

/// Writes checkpoints/step-N under `run` and makes it the latest; afterwards all but the `keep`
/// newest are removed. Throws FileError; the checkpoints that were there stay.
void save_checkpoint(const std::filesystem::path& run, const Checkpoint& checkpoint,
                     std::int64_t keep);

/// The latest complete checkpoint. Throws FileError when there is none, FormatError when it is
/// damaged.
Checkpoint load_checkpoint(const std::filesystem::path& run);

}  // namespace leapverify

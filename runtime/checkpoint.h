// A checkpoint on disk: checkpoints/step-N/ with safetensors for every tensor, JSON for the rest,
// and a digest of each file. It is written to a temporary folder, synced, renamed, and pointed to
// last, so that a process that dies at any moment leaves the checkpoint before it intact.
#pragma once

#include <leapverify/runtime/safetensors.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace leapverify {

/// Everything that makes a run go on bitwise.
struct Checkpoint {
  std::int64_t step = 0;
  /// File stem → tensors: "model", "optimizer", "leapverify", "random".
  std::map<std::string, NamedTensors> tensors;
  /// JSON by the same names, and "trainer" for what the training loop itself keeps.
  std::map<std::string, std::string> json;
};

/// Version of the format; all others are refused.
inline constexpr int kCheckpointFormat = 9;

/// Writes checkpoints/step-N under `run` and makes it the latest; afterwards all but the `keep`
/// newest, and that of step `keep_too`, are removed. Throws FileError; the checkpoints that were there
/// stay.
void save_checkpoint(const std::filesystem::path& run, const Checkpoint& checkpoint,
                     std::int64_t keep, std::optional<std::int64_t> keep_too = std::nullopt);

/// The latest checkpoint, or that of `step`. Throws FileError when it is not there or a file of it is
/// missing, FormatError when it is of another format, or when a byte of it is not what was saved.
Checkpoint load_checkpoint(const std::filesystem::path& run,
                           std::optional<std::int64_t> step = std::nullopt);

/// The steps of all checkpoints that load_checkpoint() takes, ascending. Reads every byte of them.
std::vector<std::int64_t> complete_checkpoints(const std::filesystem::path& run);

/// Makes the checkpoint of `step`, which must be there, the latest. Later ones are removed by the
/// next save. Throws FileError.
void make_latest(const std::filesystem::path& run, std::int64_t step);

/// "DIGEST NAME\n", where DIGEST is 16 hexadecimal digits: kernels::checksum over `bytes` as one
/// segment of kBytes. A checkpoint's `digests` holds such a line for each file, and `latest` one of
/// which name and bytes are the folder's name.
std::string digest_line(const std::string& name, const std::string& bytes);

}  // namespace leapverify

// Folders as Hugging Face lays them out: config.json beside model.safetensors, or beside several
// files of weights and model.safetensors.index.json.
#pragma once

#include <leapverify/integrations/models/pretrained_config.h>
#include <leapverify/integrations/models/pretrained_model.h>

#include <cstdint>
#include <filesystem>
#include <memory>

namespace leapverify::models {

/// What the config.json of `folder` says. Throws FileError and, as parse_pretrained_config(),
/// FormatError.
PretrainedOptions read_pretrained_config(const std::filesystem::path& folder);

/// The model that `folder` holds, a GPT-2 or Qwen2 as its config.json says, in fp32 on the CPU and
/// in training mode. The weights on the disk may have any floating-point dtype, and the files are
/// mapped, not read: beside the model itself they need no memory. Draws from torch's global RNG.
/// Throws FileError, or FormatError for a config.json that parse_pretrained_config() refuses, an
/// index that does not fit its files, and tensors that are missing, no part of the model, of
/// another shape or not of floating-point.
std::shared_ptr<PretrainedModel> load_pretrained(const std::filesystem::path& folder);

/// Writes a folder that load_pretrained() and transformers read: weights in the parameters' dtype,
/// in one file, or in several of at most `max_shard_bytes` where they are more; a tensor that is
/// larger by itself has a file of its own. Complete or not there, even after a crash. Throws
/// FileError, also when `folder` exists, and ContractError for a `max_shard_bytes` below 1 and for
/// a model with adapters.
void save_pretrained(const PretrainedModel& model, const std::filesystem::path& folder,
                     std::int64_t max_shard_bytes = std::int64_t{5} << 30);

}  // namespace leapverify::models

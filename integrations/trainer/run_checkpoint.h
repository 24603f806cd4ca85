// What of a run stands in its checkpoints: model, base optimizer, LeapVerify and random generators.
#pragma once

#include <leapverify/runtime/checkpoint.h>
#include <leapverify/runtime/leap_verify.h>
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace leapverify::trainer {

/// Refers to the parts, which share one device.
struct TrainedParts {
  torch::nn::Module& model;
  torch::optim::Optimizer& base;
  LeapVerify& leaps;
  torch::Device device;
};

/// All of them as they are now. The training loop adds its own part.
Checkpoint checkpoint_of(const TrainedParts& parts, std::int64_t step);

/// The JSON of a part. Throws FormatError when the checkpoint has none; `source` names it in messages.
const std::string& json_part(const Checkpoint& checkpoint, const char* name,
                             const std::string& source);

/// Puts the model alone back.
void restore_model(torch::nn::Module& model, const Checkpoint& checkpoint,
                   const std::string& source);

/// Puts the parts back. Throws FormatError when something does not fit; the parts must then be
/// discarded.
void restore_parts(const TrainedParts& parts, const Checkpoint& checkpoint,
                   const std::string& source);

/// As load_checkpoint(); where that fails, the error also says which other steps can be resumed from.
/// None is taken by itself: that would undo training unasked.
Checkpoint load_or_name_others(const std::filesystem::path& run, std::optional<std::int64_t> step);

}  // namespace leapverify::trainer

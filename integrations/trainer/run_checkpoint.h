// What of a run stands in its checkpoints: model, base optimizer, LeapVerify and the random generators
// of its ranks.
#pragma once

#include <leapverify/runtime/checkpoint.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/random_state.h>
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace leapverify::trainer {

/// Refers to the parts, which share one device.
struct TrainedParts {
  torch::nn::Module& model;
  torch::optim::Optimizer& base;
  LeapVerify& leaps;
  torch::Device device;
};

/// Of torch's generators on each rank.
std::vector<RandomState> gather_random_states(Collective& ranks, torch::Device device);

/// All of them as they are now, with the random generators of all ranks. The training loop adds its own
/// part.
Checkpoint checkpoint_of(const TrainedParts& parts, std::int64_t step,
                         const std::vector<RandomState>& random);

/// The JSON of a part. Throws FormatError when the checkpoint has none; `source` names it in messages.
const std::string& json_part(const Checkpoint& checkpoint, const char* name,
                             const std::string& source);

/// Puts the model alone back.
void restore_model(torch::nn::Module& model, const Checkpoint& checkpoint,
                   const std::string& source);

/// Throws FormatError when the checkpoint has none of this rank.
RandomState random_state_of(const Checkpoint& checkpoint, int rank, const std::string& source);

/// Puts the parts back, but for the random generators. Throws FormatError when something does not fit;
/// the parts must then be discarded.
void restore_parts(const TrainedParts& parts, const Checkpoint& checkpoint,
                   const std::string& source);

/// As load_checkpoint(); where that fails, the error also says which other steps can be resumed from.
/// None is taken by itself: that would undo training unasked.
Checkpoint load_or_name_others(const std::filesystem::path& run, std::optional<std::int64_t> step);

}  // namespace leapverify::trainer

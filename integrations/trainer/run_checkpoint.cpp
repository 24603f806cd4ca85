#include <leapverify/integrations/trainer/run_checkpoint.h>
#include <leapverify/runtime/optimizer_state.h>
#include <leapverify/runtime/random_state.h>

#include <map>
#include <utility>
#include <vector>

namespace leapverify::trainer {
namespace {

NamedTensors named_tensors(const torch::nn::Module& model) {
  NamedTensors tensors;
  for (const auto& item : model.named_parameters()) tensors.emplace_back(item.key(), item.value());
  for (const auto& item : model.named_buffers()) tensors.emplace_back(item.key(), item.value());
  return tensors;
}

/// A part of a checkpoint by its name.
template <class T>
const T& part(const std::map<std::string, T>& parts, const char* name, const std::string& source) {
  const auto found = parts.find(name);
  if (found == parts.end()) {
    throw FormatError(source + ": the checkpoint has no part '" + name + "'");
  }
  return found->second;
}

}  // namespace

Checkpoint checkpoint_of(const TrainedParts& parts, std::int64_t step) {
  Checkpoint checkpoint;
  checkpoint.step = step;
  checkpoint.tensors["model"] = named_tensors(parts.model);
  OptimizerState optimizer = export_state(parts.base);
  checkpoint.tensors["optimizer"] = std::move(optimizer.tensors);
  checkpoint.json["optimizer"] = std::move(optimizer.json);
  LeapVerifyState leaps = parts.leaps.state();
  checkpoint.tensors["leapverify"] = std::move(leaps.tensors);
  checkpoint.json["leapverify"] = std::move(leaps.json);
  const RandomState random = capture_random_state(parts.device);
  checkpoint.tensors["random"] = {{"cpu", random.cpu}};
  if (random.cuda.defined()) checkpoint.tensors["random"].emplace_back("cuda", random.cuda);
  return checkpoint;
}

const std::string& json_part(const Checkpoint& checkpoint, const char* name,
                             const std::string& source) {
  return part(checkpoint.json, name, source);
}

void restore_model(torch::nn::Module& model, const Checkpoint& checkpoint,
                   const std::string& source) {
  const torch::NoGradGuard no_grad;
  const NamedTensors stored = part(checkpoint.tensors, "model", source);
  for (const auto& [name, tensor] : named_tensors(model)) {
    torch::Tensor target = tensor;
    target.copy_(find_like(stored, name, tensor, source));
  }
}

void restore_parts(const TrainedParts& parts, const Checkpoint& checkpoint,
                   const std::string& source) {
  const auto json_of = [&](const char* name) { return part(checkpoint.json, name, source); };
  const auto tensors_of = [&](const char* name) { return part(checkpoint.tensors, name, source); };
  restore_model(parts.model, checkpoint, source);
  import_state(parts.base, {tensors_of("optimizer"), json_of("optimizer")}, source);
  parts.leaps.restore({json_of("leapverify"), tensors_of("leapverify")});
  RandomState random;
  for (const auto& [name, tensor] : tensors_of("random")) {
    (name == "cpu" ? random.cpu : random.cuda) = tensor;
  }
  if (!random.cpu.defined()) throw FormatError(source + ": no state of the random generator");
  restore_random_state(random, parts.device);
}

Checkpoint load_or_name_others(const std::filesystem::path& run, std::optional<std::int64_t> step) {
  try {
    return load_checkpoint(run, step);
  } catch (const Error& error) {
    const std::vector<std::int64_t> complete = complete_checkpoints(run);
    if (complete.empty()) throw;
    std::string steps;
    for (const std::int64_t one : complete) {
      steps += (steps.empty() ? "" : ", ") + std::to_string(one);
    }
    throw Error(std::string(error.what()) + "; complete checkpoints: step " + steps +
                "; to go on from one: leapverify resume '" + run.string() + "' --step " +
                std::to_string(complete.back()));
  }
}

}  // namespace leapverify::trainer

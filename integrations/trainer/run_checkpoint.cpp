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

/// Of the names of a rank's generators.
std::string random_prefix(int rank) {
  return rank == 0 ? "" : "rank-" + std::to_string(rank) + ".";
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

std::vector<RandomState> gather_random_states(Collective& ranks, torch::Device device) {
  const RandomState own = capture_random_state(device);
  const auto bytes_of = [](const at::Tensor& state) { return state.defined() ? state.numel() : 0; };
  std::vector<double> bytes;
  for (const at::Tensor& state : {own.cpu, own.cuda}) {
    const std::uint8_t* data = state.defined() ? state.const_data_ptr<std::uint8_t>() : nullptr;
    bytes.insert(bytes.end(), data, data + bytes_of(state));
  }
  std::vector<RandomState> states;
  for (const std::vector<double>& row : gather(ranks, bytes)) {
    const at::Tensor all = at::tensor(row, at::kDouble).to(at::kByte);
    RandomState state;
    state.cpu = all.narrow(0, 0, bytes_of(own.cpu)).clone();
    if (own.cuda.defined()) {
      state.cuda = all.narrow(0, bytes_of(own.cpu), bytes_of(own.cuda)).clone();
    }
    states.push_back(state);
  }
  return states;
}

Checkpoint checkpoint_of(const TrainedParts& parts, std::int64_t step,
                         const std::vector<RandomState>& random) {
  Checkpoint checkpoint;
  checkpoint.step = step;
  checkpoint.tensors["model"] = named_tensors(parts.model);
  OptimizerState optimizer = export_state(parts.base);
  checkpoint.tensors["optimizer"] = std::move(optimizer.tensors);
  checkpoint.json["optimizer"] = std::move(optimizer.json);
  LeapVerifyState leaps = parts.leaps.state();
  checkpoint.tensors["leapverify"] = std::move(leaps.tensors);
  checkpoint.json["leapverify"] = std::move(leaps.json);
  NamedTensors& states = checkpoint.tensors["random"];
  for (std::size_t rank = 0; rank < random.size(); ++rank) {
    const std::string prefix = random_prefix(static_cast<int>(rank));
    states.emplace_back(prefix + "cpu", random[rank].cpu);
    if (random[rank].cuda.defined()) states.emplace_back(prefix + "cuda", random[rank].cuda);
  }
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
}

RandomState random_state_of(const Checkpoint& checkpoint, int rank, const std::string& source) {
  const std::string prefix = random_prefix(rank);
  RandomState random;
  for (const auto& [name, tensor] : part(checkpoint.tensors, "random", source)) {
    if (name == prefix + "cpu") random.cpu = tensor;
    if (name == prefix + "cuda") random.cuda = tensor;
  }
  if (!random.cpu.defined()) {
    throw FormatError(source + ": no state of the random generator of rank " +
                      std::to_string(rank));
  }
  return random;
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

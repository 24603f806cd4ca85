#include <leapverify/integrations/trainer/worker_files.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/strict_json.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace leapverify::trainer {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// These files need survive nothing.
void write(const fs::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw FileError(path.string() + ": could not be written");
}

constexpr const char* kOptimizer = "optimizer.";

NamedTensors tensors_of(const std::vector<at::Tensor>& weights, const OptimizerState& optimizer) {
  NamedTensors tensors;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    tensors.emplace_back("weights." + std::to_string(i), weights[i]);
  }
  for (const auto& [name, tensor] : optimizer.tensors) {
    tensors.emplace_back(kOptimizer + name, tensor);
  }
  return tensors;
}

void write_parts(const fs::path& folder, const char* name, json facts,
                 const std::vector<at::Tensor>& weights, const OptimizerState& optimizer) {
  facts["optimizer"] = optimizer.json;
  facts["weights"] = weights.size();
  write(folder / (std::string(name) + ".safetensors"),
        to_safetensors(tensors_of(weights, optimizer)));
  write(folder / (std::string(name) + ".json"), facts.dump());
}

json read_parts(const fs::path& folder, const char* name, std::vector<at::Tensor>& weights,
                OptimizerState& optimizer) {
  const fs::path file = folder / (std::string(name) + ".safetensors");
  const NamedTensors tensors = from_safetensors(read_file(file), file.string());
  try {
    const json facts = json::parse(read_file(folder / (std::string(name) + ".json")));
    optimizer.json = facts.at("optimizer");
    weights.resize(facts.at("weights").get<std::size_t>());
    for (const auto& [key, tensor] : tensors) {
      if (key.rfind(kOptimizer, 0) == 0) {
        optimizer.tensors.emplace_back(key.substr(std::string(kOptimizer).size()), tensor);
      } else {
        weights.at(std::stoul(key.substr(key.find('.') + 1))) = tensor;
      }
    }
    return facts;
  } catch (const json::exception& error) {
    throw FormatError(folder.string() + ": " + json_words(error));
  }
}

}  // namespace

void write_job(const fs::path& folder, const SpeculativeJob& job) {
  write_parts(folder, "job",
              {{"step", job.step},
               {"steps", job.steps},
               {"data_position", job.position.data},
               {"schedule_position", job.position.schedule},
               {"rate_scale", job.rate_scale}},
              job.weights, job.optimizer);
}

SpeculativeJob read_job(const fs::path& folder) {
  SpeculativeJob job;
  const json facts = read_parts(folder, "job", job.weights, job.optimizer);
  job.step = facts.at("step");
  job.steps = facts.at("steps");
  job.position = {facts.at("data_position"), facts.at("schedule_position")};
  job.rate_scale = facts.at("rate_scale");
  return job;
}

void write_result(const fs::path& folder, const SpeculativeResult& result) {
  write_parts(folder, "result", json::object(), result.weights, result.optimizer);
}

SpeculativeResult read_result(const fs::path& folder) {
  SpeculativeResult result;
  read_parts(folder, "result", result.weights, result.optimizer);
  return result;
}

}  // namespace leapverify::trainer

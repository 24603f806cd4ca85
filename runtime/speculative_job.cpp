#include <leapverify/runtime/speculative_job.h>
#include <leapverify/runtime/strict_json.h>

#include <nlohmann/json.hpp>
#include <utility>

namespace leapverify {
namespace {

using nlohmann::json;

const std::string kWeights = "weights.";
const std::string kOptimizer = "optimizer.";

LeapVerifyState pack_with(json facts, const SpeculativeResult& result) {
  LeapVerifyState packed;
  facts["weights"] = result.weights.size();
  facts["optimizer"] = result.optimizer.json;
  packed.json = facts.dump();
  for (std::size_t i = 0; i < result.weights.size(); ++i) {
    packed.tensors.emplace_back(kWeights + std::to_string(i), result.weights[i]);
  }
  for (const auto& [name, tensor] : result.optimizer.tensors) {
    packed.tensors.emplace_back(kOptimizer + name, tensor);
  }
  return packed;
}

/// Returns the facts beside it.
json unpack_into(SpeculativeResult& result, const LeapVerifyState& packed,
                 const std::string& source) {
  json facts = json::parse(packed.json);
  result.optimizer.json = facts.at("optimizer");
  result.weights.resize(facts.at("weights").get<std::size_t>());
  for (const auto& [name, tensor] : packed.tensors) {
    if (name.rfind(kOptimizer, 0) == 0) {
      result.optimizer.tensors.emplace_back(name.substr(kOptimizer.size()), tensor);
    }
    for (std::size_t i = 0; i < result.weights.size(); ++i) {
      if (name == kWeights + std::to_string(i)) result.weights[i] = tensor;
    }
  }
  for (const at::Tensor& weight : result.weights) {
    if (!weight.defined()) throw FormatError(source + ": weights are missing");
  }
  return facts;
}

}  // namespace

LeapVerifyState pack(const SpeculativeResult& result) { return pack_with(json::object(), result); }

LeapVerifyState pack(const SpeculativeJob& job) {
  return pack_with({{"step", job.step},
                    {"steps", job.steps},
                    {"data_position", job.position.data},
                    {"schedule_position", job.position.schedule},
                    {"rate_scale", job.rate_scale}},
                   job);
}

SpeculativeResult unpack_result(const LeapVerifyState& packed, const std::string& source) {
  try {
    SpeculativeResult result;
    unpack_into(result, packed, source);
    return result;
  } catch (const json::exception& error) {
    throw FormatError(source + ": " + json_words(error));
  }
}

SpeculativeJob unpack_job(const LeapVerifyState& packed, const std::string& source) {
  try {
    SpeculativeJob job;
    const json facts = unpack_into(job, packed, source);
    job.step = facts.at("step");
    job.steps = facts.at("steps");
    job.position = {facts.at("data_position"), facts.at("schedule_position")};
    job.rate_scale = facts.at("rate_scale");
    return job;
  } catch (const json::exception& error) {
    throw FormatError(source + ": " + json_words(error));
  }
}

}  // namespace leapverify

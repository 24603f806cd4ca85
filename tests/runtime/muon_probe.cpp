// Steps weights by Muon, for the comparison with torch.optim.Muon.
// Usage: muon_probe IN.safetensors OUT.safetensors STEPS RATE DECAY MOMENTUM original|match_rms_adamw
// IN holds weight.I and, for each step, gradient.STEP.I; OUT the weights after all steps.
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/muon.h>
#include <leapverify/runtime/safetensors.h>
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <map>

int main(int argc, char** argv) {
  using namespace leapverify;
  if (argc != 8) return 2;
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, tensor] : from_safetensors(read_file(argv[1]), argv[1])) {
    tensors[name] = tensor;
  }
  std::vector<at::Tensor> weights;
  for (int i = 0; tensors.count("weight." + std::to_string(i)) > 0; ++i) {
    weights.push_back(tensors["weight." + std::to_string(i)].clone().requires_grad_());
  }
  auto options = std::make_unique<MuonOptions>(std::atof(argv[4]));
  options->weight_decay(std::atof(argv[5]));
  options->momentum = std::atof(argv[6]);
  options->rate = std::string(argv[7]) == "original" ? MuonRate::kOriginal : MuonRate::kMatchAdamW;
  options->orthogonalised = true;
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(weights, std::move(options));
  Muon optimizer(groups);
  for (int step = 0; step < std::atoi(argv[3]); ++step) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i].mutable_grad() =
          tensors["gradient." + std::to_string(step) + "." + std::to_string(i)];
    }
    optimizer.step();
  }
  NamedTensors result;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    result.emplace_back("weight." + std::to_string(i), weights[i].detach());
  }
  write_synced(argv[2], to_safetensors(result));
  return 0;
}

#include <leapverify/integrations/models/lora.h>
#include <leapverify/integrations/models/lora_config.h>
#include <leapverify/integrations/models/stored_tensors.h>
#include <leapverify/integrations/text_ends.h>
#include <leapverify/runtime/strict_json.h>

#include <algorithm>
#include <map>
#include <utility>

namespace leapverify::models {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kWeightsFile = "adapter_model.safetensors";

/// A linear layer of a block and its name, as in "transformer.h.0.attn.c_attn".
struct NamedLayer {
  std::string name;
  LoraLinear layer;
  bool transposed;

  bool is_named_by(const std::string& target) const { return ends_with("." + name, "." + target); }
  std::string last_part() const { return name.substr(name.rfind('.') + 1); }
  /// Of A or B in a file.
  std::string stored_name(const char* matrix) const {
    return "base_model.model." + name + ".lora_" + matrix + ".weight";
  }
};

std::vector<NamedLayer> layers_of(const PretrainedModel& model) {
  std::vector<NamedLayer> layers;
  for (const StoredWeight& weight : model.stored_weights().weights) {
    if (!weight.layer) continue;
    layers.push_back(
        {weight.name.substr(0, weight.name.rfind('.')), weight.layer, weight.transposed});
  }
  return layers;
}

/// The last parts of the layers' names, each once.
std::vector<std::string> kinds_of(const std::vector<NamedLayer>& layers) {
  std::vector<std::string> kinds;
  for (const NamedLayer& layer : layers) {
    const std::string kind = layer.last_part();
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
  }
  return kinds;
}

std::string list_text(const std::vector<std::string>& names) {
  std::string text = names.front();
  for (std::size_t i = 1; i < names.size(); ++i) {
    text += (i + 1 == names.size() ? " or " : ", ") + names[i];
  }
  return text;
}

/// The layers that targets name, which must name some each.
std::vector<NamedLayer> targeted_layers(const PretrainedModel& model,
                                        const std::vector<std::string>& targets) {
  const std::vector<NamedLayer> all = layers_of(model);
  for (const std::string& target : targets) {
    const auto is_named = [&](const NamedLayer& layer) { return layer.is_named_by(target); };
    if (std::none_of(all.begin(), all.end(), is_named)) {
      throw InvalidOption("targets", '"' + excerpt(target) + '"', list_text(kinds_of(all)));
    }
  }
  std::vector<NamedLayer> layers;
  for (const NamedLayer& layer : all) {
    const auto names_it = [&](const std::string& target) { return layer.is_named_by(target); };
    if (std::any_of(targets.begin(), targets.end(), names_it)) layers.push_back(layer);
  }
  return layers;
}

void check_has_none(const PretrainedModel& model) {
  LV_CHECK(model.lora().rank == 0, "the model has LoRA adapters already, expected none");
}

void check_has_some(const PretrainedModel& model) {
  LV_CHECK(model.lora().rank > 0, "the model has no LoRA adapters, expected some");
}

/// What a file with adapters of `rank` holds, without data.
std::vector<StoredWeight> expected_weights(const std::vector<NamedLayer>& layers,
                                           std::int64_t rank) {
  std::vector<StoredWeight> weights;
  for (const NamedLayer& layer : layers) {
    const torch::Tensor& matrix = layer.layer->weight;
    weights.push_back({layer.stored_name("A"), torch::empty({rank, matrix.size(1)}, at::kMeta)});
    weights.push_back({layer.stored_name("B"), torch::empty({matrix.size(0), rank}, at::kMeta)});
  }
  return weights;
}

}  // namespace

void add_lora(PretrainedModel& model, const LoraOptions& options) {
  options.validate();
  options.require_rank();
  check_has_none(model);
  LoraOptions resolved = options;
  if (resolved.targets.empty()) resolved.targets = kinds_of(layers_of(model));
  std::vector<NamedLayer> layers = targeted_layers(model, resolved.targets);
  for (torch::Tensor& parameter : model.parameters()) parameter.requires_grad_(false);
  for (NamedLayer& layer : layers) layer.layer->add_adapter(resolved);
  model.lora_ = std::move(resolved);
}

void merge_lora(PretrainedModel& model) {
  check_has_some(model);
  for (NamedLayer& layer : layers_of(model)) {
    if (layer.layer->has_adapter()) layer.layer->merge_adapter();
  }
  for (torch::Tensor& parameter : model.parameters()) parameter.requires_grad_(true);
  model.lora_ = {};
}

void load_lora(PretrainedModel& model, const fs::path& folder) {
  check_has_none(model);
  const fs::path config = folder / kConfigFile;
  const LoraOptions options = parse_lora_config(read_file(config), config.string());
  std::vector<NamedLayer> layers;
  try {
    layers = targeted_layers(model, options.targets);
  } catch (const InvalidOption& error) {
    refuse_lora_config(error, config.string());
  }
  std::map<std::string, FoundTensor> found;
  for (FoundTensor& tensor : map_tensors(folder / kWeightsFile)) found[tensor.name] = tensor;
  const std::vector<torch::Tensor> tensors =
      match(expected_weights(layers, options.rank), std::move(found), folder);
  add_lora(model, options);
  copy_into(lora_weights(model), tensors);
}

void save_lora(const PretrainedModel& model, const fs::path& folder) {
  check_has_some(model);
  const bool transposed = layers_of(model).front().transposed;
  NamedTensors tensors;
  for (const StoredWeight& weight : lora_weights(model)) {
    tensors.emplace_back(weight.name, weight.parameter.detach());
  }
  write_folder(folder, [&](const fs::path& incomplete) {
    write_synced(incomplete / kConfigFile, lora_config(model.lora(), transposed));
    write_synced(incomplete / kWeightsFile, to_safetensors(tensors, {{"format", "pt"}}));
  });
}

std::vector<StoredWeight> lora_weights(const PretrainedModel& model) {
  std::vector<StoredWeight> weights;
  for (const NamedLayer& layer : layers_of(model)) {
    if (!layer.layer->has_adapter()) continue;
    weights.push_back({layer.stored_name("A"), layer.layer->lora_a()});
    weights.push_back({layer.stored_name("B"), layer.layer->lora_b()});
  }
  return weights;
}

}  // namespace leapverify::models

#include <leapverify/integrations/models/gpt2.h>
#include <leapverify/integrations/models/pretrained_files.h>
#include <leapverify/integrations/models/qwen2.h>
#include <leapverify/integrations/models/stored_tensors.h>
#include <leapverify/integrations/text_ends.h>
#include <leapverify/runtime/strict_json.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

namespace leapverify::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kHead = "lm_head.weight";

/// From a tensor's name to its file, as the index has it.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const json index = parse_object(read_file(path), /*max_depth=*/4, path.string());
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    throw FormatError(path.string() + ": weight_map is missing, expected an object");
  }
  std::map<std::string, std::string> files;
  for (const auto& [name, file] : map->items()) {
    // A path could lead out of the folder.
    if (!file.is_string() ||
        fs::path(file.get<std::string>()).filename() != file.get<std::string>()) {
      throw FormatError(path.string() + ": weight_map: '" + excerpt(name) + "' is in " +
                        excerpt(file.dump()) + ", expected the name of a file");
    }
    files[name] = file.get<std::string>();
  }
  return files;
}

std::vector<FoundTensor> map_shards(const fs::path& index_path) {
  std::map<std::string, std::string> expected = read_index(index_path);
  std::set<std::string> files;
  for (const auto& entry : expected) files.insert(entry.second);
  std::vector<FoundTensor> found;
  for (const std::string& file : files) {
    for (FoundTensor& item : map_tensors(index_path.parent_path() / file)) {
      const auto entry = expected.find(item.name);
      if (entry == expected.end() || entry->second != file) {
        throw FormatError(item.where() + shape_text(item.tensor.sizes()) + " is not there in " +
                          kIndexFile);
      }
      expected.erase(entry);
      found.push_back(std::move(item));
    }
  }
  if (!expected.empty()) {
    throw FormatError(index_path.string() + ": tensor '" + excerpt(expected.begin()->first) +
                      "' is missing in " + expected.begin()->second);
  }
  return found;
}

std::vector<FoundTensor> map_weights(const fs::path& folder) {
  if (fs::exists(folder / kSingleFile)) return map_tensors(folder / kSingleFile);
  if (fs::exists(folder / kIndexFile)) return map_shards(folder / kIndexFile);
  throw FileError(folder.string() + ": holds no weights, expected " + kSingleFile + " or " +
                  kIndexFile);
}

/// The tensors of files by their full names, without those that nobody reads.
std::map<std::string, FoundTensor> by_full_name(std::vector<FoundTensor> found,
                                                const StoredWeights& stored) {
  std::map<std::string, FoundTensor> result;
  for (FoundTensor& item : found) {
    const auto ends_name = [&](const std::string& end) { return ends_with(item.name, end); };
    if (std::any_of(stored.ignored.begin(), stored.ignored.end(), ends_name)) continue;
    const bool full = item.name == kHead || starts_with(item.name, stored.prefix);
    const std::string name = full ? item.name : stored.prefix + item.name;
    const auto [place, is_new] = result.emplace(name, item);
    if (!is_new) {
      throw FormatError(item.where() + "is there as '" + excerpt(place->second.name) + "' too");
    }
  }
  return result;
}

/// Takes the output head out where it is another weight, and that again in the files.
void drop_repeated_head(std::map<std::string, FoundTensor>* found, const StoredWeights& stored) {
  const auto head = found->find(kHead);
  const auto embedding = found->find(stored.head_is);
  if (stored.head_is.empty() || head == found->end() || embedding == found->end()) return;
  check_fits(head->second, embedding->second.tensor.sizes());
  if (!torch::equal(head->second.tensor.to(torch::kFloat),
                    embedding->second.tensor.to(torch::kFloat))) {
    throw FormatError(head->second.where() + shape_text(head->second.tensor.sizes()) +
                      " differs from '" + stored.head_is +
                      "', expected the same values: config.json ties them");
  }
  found->erase(head);
}

void load_weights(const PretrainedModel& model, const fs::path& folder) {
  const StoredWeights stored = model.stored_weights();
  std::map<std::string, FoundTensor> found = by_full_name(map_weights(folder), stored);
  drop_repeated_head(&found, stored);
  copy_into(stored.weights, match(stored.weights, std::move(found), folder));
}

std::shared_ptr<PretrainedModel> make(const PretrainedOptions& options) {
  if (const auto* gpt2 = std::get_if<Gpt2Options>(&options)) return std::make_shared<Gpt2>(*gpt2);
  return std::make_shared<Qwen2>(std::get<Qwen2Options>(options));
}

/// The weights in order, parted where the next one would make a file too large.
std::vector<NamedTensors> part(const StoredWeights& stored, std::int64_t max_bytes) {
  std::vector<NamedTensors> shards(1);
  std::size_t bytes = 0;
  for (const StoredWeight& weight : stored.weights) {
    const std::size_t size = weight.parameter.nbytes();
    if (bytes > 0 && bytes + size > static_cast<std::size_t>(max_bytes)) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().emplace_back(weight.name, weight.as_stored(weight.parameter.detach()));
    bytes += size;
  }
  return shards;
}

std::string shard_name(std::size_t number, std::size_t count) {
  if (count == 1) return kSingleFile;
  char name[64];
  std::snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", number, count);
  return name;
}

void write_weights(const std::vector<NamedTensors>& shards, const fs::path& folder) {
  ordered_json weight_map = ordered_json::object();
  std::size_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string file = shard_name(i + 1, shards.size());
    // Early versions of transformers read no file without this.
    write_synced(folder / file, to_safetensors(shards[i], {{"format", "pt"}}));
    for (const auto& [name, tensor] : shards[i]) {
      weight_map[name] = file;
      total += tensor.nbytes();
    }
  }
  if (shards.size() == 1) return;
  const ordered_json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  write_synced(folder / kIndexFile, index.dump(2) + "\n");
}

}  // namespace

PretrainedOptions read_pretrained_config(const fs::path& folder) {
  const fs::path config = folder / "config.json";
  return parse_pretrained_config(read_file(config), config.string());
}

std::shared_ptr<PretrainedModel> load_pretrained(const fs::path& folder) {
  auto model = make(read_pretrained_config(folder));
  load_weights(*model, folder);
  return model;
}

void save_pretrained(const PretrainedModel& model, const fs::path& folder,
                     std::int64_t max_shard_bytes) {
  LV_CHECK(max_shard_bytes >= 1, "max_shard_bytes " << max_shard_bytes << ", expected at least 1");
  LV_CHECK(model.lora().rank == 0,
           "the model has LoRA adapters, expected them merged (merge_lora); save_lora saves them");
  write_folder(folder, [&](const fs::path& incomplete) {
    write_synced(incomplete / "config.json", model.config_json());
    write_weights(part(model.stored_weights(), max_shard_bytes), incomplete);
  });
}

}  // namespace leapverify::models

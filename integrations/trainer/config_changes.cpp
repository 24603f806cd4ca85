#include <leapverify/integrations/text_ends.h>
#include <leapverify/integrations/trainer/config_changes.h>
#include <leapverify/integrations/trainer/yaml_field.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace leapverify::trainer {
namespace {

using nlohmann::json;

/// `text` with a replacement character for what is no UTF-8.
std::string valid_utf8(const std::string& text) {
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace));
}

/// A folder may be moved; the others matter to training alone.
bool is_kept(const std::string& key) {
  if (key == "optimizer.name") return true;
  return starts_with(key, "model.") && key != "model.folder" &&
         key != "model.activation_checkpointing" && key.find("drop") == std::string::npos;
}

}  // namespace

std::map<std::string, std::string> config_values(Config config) {
  std::map<std::string, std::string> values;
  for (const YamlField& field : yaml_fields(config)) values[field.name] = valid_utf8(field.get());
  return values;
}

std::vector<ConfigChange> config_changes(const std::map<std::string, std::string>& before,
                                         const Config& now) {
  std::vector<ConfigChange> changes;
  for (const auto& [key, value] : config_values(now)) {
    const auto found = before.find(key);
    if (found != before.end() && found->second != value) {
      changes.push_back({key, found->second, value});
    }
  }
  return changes;
}

void require_same_config(Collective& ranks, const Config& config) {
  const json first = json::parse(broadcast(ranks, json(config_values(config)).dump()));
  const std::vector<ConfigChange> changes = config_changes(first, config);
  const auto counts = gather(ranks, {static_cast<double>(changes.size())});
  const auto other = std::find_if(counts.begin(), counts.end(),
                                  [](const std::vector<double>& count) { return count[0] > 0; });
  if (other == counts.end()) return;
  const auto rank = static_cast<int>(other - counts.begin());
  std::string words;
  if (!changes.empty()) {
    words = changes.front().key + " is " + changes.front().to + " on " + rank_names({rank}) +
            " and " + changes.front().from + " on rank 0";
  }
  throw RankMismatch("config: " + broadcast(ranks, words, rank));
}

void refuse_another_model(const std::vector<ConfigChange>& changes) {
  for (const ConfigChange& change : changes) {
    if (!is_kept(change.key)) continue;
    throw InvalidOption(
        change.key, change.to,
        change.from +
            ", as the run was trained with: optimizer.name and the keys below model "
            "stay, but for dropout, activation_checkpointing and folder; 'leapverify "
            "train' begins a run with others");
  }
}

Config without_changes(Config now, const std::vector<ConfigChange>& changes) {
  for (const YamlField& field : yaml_fields(now)) {
    for (const ConfigChange& change : changes) {
      if (change.key == field.name) field.set(YAML::Load(change.from));
    }
  }
  return now;
}

std::string config_event(std::int64_t step, const std::vector<ConfigChange>& changes) {
  nlohmann::ordered_json event = {{"event", "config"}, {"step", step}};
  for (const ConfigChange& change : changes) {
    event["changed"][change.key] = {{"from", change.from}, {"to", change.to}};
  }
  return event.dump();
}

}  // namespace leapverify::trainer

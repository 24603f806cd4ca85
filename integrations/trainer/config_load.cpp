// Reads configs: presets, files and overrides become lists of (key, value, place), applied in turn.
#include <leapverify/integrations/text_ends.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/presets.h>
#include <leapverify/integrations/trainer/yaml_field.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

namespace leapverify::trainer {
namespace {

const std::string kPresetKey = "leapverify.preset";
const std::string kEnabledKey = "leapverify.enabled";

[[noreturn]] void refuse(const std::string& place, const std::string& message) {
  throw ConfigError(place.empty() ? message : place + ": " + message);
}

/// Levenshtein's distance.
std::size_t edits_between(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

/// What needs validations in the course of the run.
void check_validated(const RunOptions& run) {
  if (run.eval_every > 0) return;
  const std::string legal = " as run.eval_every = 0 validates only at the end";
  if (run.target_loss > 0) {
    throw InvalidOption("target_loss", number_text(run.target_loss), "0," + legal);
  }
  if (run.keep_best) throw InvalidOption("keep_best", "true", "false," + legal);
}

void check_next_batch(const Config& config) {
  const Options& options = config.leapverify.options;
  if (!options.enabled || options.gate != GateSource::kNextBatch) return;
  const std::int64_t needed = policy::Verifier(options.verification_of_one()).pairs_needed();
  if (config.batch.sequences_of_step() >= needed) return;
  const bool bets = options.verification.rule == policy::Rule::kSequential;
  const std::int64_t passes = config.batch.accumulate;
  throw InvalidOption(
      "sequences", std::to_string(config.batch.sequences),
      "at least " + std::to_string((needed + passes - 1) / passes) + ", with batch.accumulate = " +
          std::to_string(passes) + " the " + std::to_string(needed) + " that the rule " +
          name_of(options.verification.rule) + " needs with leapverify.gate: next_batch" +
          (bets ? ", and " + std::to_string(kBatchToAcceptMuch) +
                      " for it to accept more than hardly anything"
                : ""));
}

/// A key that was given. Places read "FILE:LINE", "preset NAME" or "--set KEY=VALUE".
struct Entry {
  std::string key;
  YAML::Node value;
  std::string place;
};

class ConfigLoader {
 public:
  ConfigLoader() : fields_(yaml_fields(config_)) {}
  ConfigLoader(const ConfigLoader&) = delete;
  ConfigLoader& operator=(const ConfigLoader&) = delete;

  void apply_preset(const std::string& name);
  void apply_file(const std::string& path);
  void apply_overrides(const std::vector<std::string>& overrides);

  /// Checks the fields beside each other.
  Config finish();

 private:
  using PlaceOf = std::function<std::string(int line)>;

  /// The keys of one preset, one file or all overrides, and all their places by key and group.
  struct Layer {
    std::vector<Entry> entries;
    std::map<std::string, std::string> places;
  };

  void parse(const std::string& text, const PlaceOf& place_of);
  void flatten(const YAML::Node& map, const std::string& group, const PlaceOf& place_of,
               Layer& layer) const;
  void flatten_value(const std::string& key, const YAML::Node& value, const std::string& place,
                     const PlaceOf& place_of, Layer& layer) const;
  void apply(const Layer& layer);
  void set(const Entry& entry);
  template <class Check>
  void check(const std::string& group, Check check) const;
  std::string without_effect(const std::string& key) const;
  void refuse_keys_without_effect();

  bool is_field(const std::string& key) const;
  bool is_group(const std::string& key) const;
  std::string suggestion(const std::string& key) const;
  std::string full_name(const std::string& group, const std::string& field) const;

  Config config_;
  std::vector<YamlField> fields_;
  /// Where each field was last set.
  std::map<std::string, std::string> places_;
  /// Empty: there is no preset.
  std::string preset_place_;
};

bool ConfigLoader::is_field(const std::string& key) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const YamlField& field) { return field.name == key; });
}

bool ConfigLoader::is_group(const std::string& key) const {
  return std::any_of(fields_.begin(), fields_.end(),
                     [&](const YamlField& field) { return starts_with(field.name, key + "."); });
}

/// What an unknown key may have been meant to be: the known key with the same last part, or else
/// the one that takes the fewest edits.
std::string ConfigLoader::suggestion(const std::string& key) const {
  const std::string last = last_part(key);
  std::string nearest = full_name("", last);
  if (!is_field(nearest)) {
    const auto closer = [&](const YamlField& a, const YamlField& b) {
      return edits_between(key, a.name) < edits_between(key, b.name);
    };
    nearest = std::min_element(fields_.begin(), fields_.end(), closer)->name;
    if (2 * edits_between(key, nearest) > last.size()) return "explain-config lists them all";
  }
  return "did you mean " + nearest + "?";
}

/// The only key in `group` that is or ends with `field`; else group and field joined.
std::string ConfigLoader::full_name(const std::string& group, const std::string& field) const {
  const std::string joined = group.empty() ? field : group + "." + field;
  std::vector<std::string> matches;
  for (const YamlField& known : fields_) {
    if (known.name == joined) return joined;
    if (starts_with(known.name, group) && ends_with(known.name, "." + field)) {
      matches.push_back(known.name);
    }
  }
  return matches.size() == 1 ? matches.front() : joined;
}

void ConfigLoader::flatten(const YAML::Node& map, const std::string& group, const PlaceOf& place_of,
                           Layer& layer) const {
  for (const auto& item : map) {
    const std::string place = place_of(item.first.Mark().line + 1);
    if (!item.first.IsScalar()) refuse(place, "a key must be a word");
    const std::string key = (group.empty() ? "" : group + ".") + item.first.Scalar();
    flatten_value(key, item.second, place, place_of, layer);
  }
}

void ConfigLoader::flatten_value(const std::string& key, const YAML::Node& value,
                                 const std::string& place, const PlaceOf& place_of,
                                 Layer& layer) const {
  const auto [first, is_new] = layer.places.emplace(key, place);
  if (!is_new) refuse(place, key + ": given twice, first at " + first->second);
  if (is_field(key)) {
    layer.entries.push_back({key, value, place});
  } else if (!is_group(key)) {
    refuse(place, key + ": unknown key, " + suggestion(key));
  } else if (value.IsMap()) {
    flatten(value, key, place_of, layer);
  } else if (!value.IsNull()) {
    const std::string elsewhere = full_name("", last_part(key));
    refuse(place, key + ": is a group, expected keys below it, as in " +
                      std::find_if(fields_.begin(), fields_.end(),
                                   [&](const YamlField& field) {
                                     return starts_with(field.name, key + ".");
                                   })
                          ->name +
                      (is_field(elsewhere) ? ", or is " + elsewhere + " meant?" : ""));
  }
}

void ConfigLoader::set(const Entry& entry) {
  const auto field = std::find_if(fields_.begin(), fields_.end(),
                                  [&](const YamlField& known) { return known.name == entry.key; });
  try {
    field->set(entry.value);
  } catch (const InvalidOption& error) {
    refuse(entry.place, error.what());
  }
  places_[entry.key] = entry.place;
}

void ConfigLoader::apply(const Layer& layer) {
  for (const Entry& entry : layer.entries) {
    if (entry.key != kPresetKey) continue;
    set(entry);
    config_.leapverify.apply_preset();
    for (const YamlField& field : fields_) {
      const bool reset = starts_with(field.name, "leapverify.") && field.name != kEnabledKey;
      if (reset) places_[field.name] = entry.place;
    }
  }
  for (const Entry& entry : layer.entries) {
    if (entry.key != kPresetKey) set(entry);
  }
}

void ConfigLoader::parse(const std::string& text, const PlaceOf& place_of) {
  std::vector<YAML::Node> documents;
  try {
    documents = YAML::LoadAll(text);
  } catch (const YAML::Exception& error) {
    refuse(place_of(error.mark.line + 1), "broken YAML: " + error.msg);
  }
  if (documents.size() > 1) {
    refuse(place_of(documents[1].Mark().line + 1), "a second YAML document, expected one");
  }
  Layer layer;
  if (!documents.empty() && !documents[0].IsNull()) {
    if (!documents[0].IsMap()) {
      refuse(place_of(documents[0].Mark().line + 1),
             "expected groups of keys, as in optimizer: {lr: 0.001}");
    }
    flatten(documents[0], "", place_of, layer);
  }
  apply(layer);
}

void ConfigLoader::apply_preset(const std::string& name) {
  preset_place_ = "preset " + name;
  std::string names;
  for (const Preset& preset : presets()) {
    if (preset.name == name) {
      return parse(preset.yaml, [&](int) { return preset_place_; });
    }
    names += (names.empty() ? "" : ", ") + std::string(preset.name);
  }
  refuse(preset_place_, "unknown, expected one of " + names);
}

void ConfigLoader::apply_file(const std::string& path) {
  std::ifstream stream(path);
  if (!stream || std::filesystem::is_directory(path)) {
    refuse(path, "cannot be read, expected a YAML file");
  }
  std::ostringstream text;
  text << stream.rdbuf();
  parse(text.str(), [&](int line) { return path + ":" + std::to_string(line); });
}

void ConfigLoader::apply_overrides(const std::vector<std::string>& overrides) {
  Layer layer;
  for (const std::string& text : overrides) {
    const std::string place = "--set " + text;
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      refuse(place, "expected KEY=VALUE, as in optimizer.lr=0.001");
    }
    const std::string value = text.substr(equals + 1);
    const bool structured = !value.empty() && (value.front() == '[' || value.front() == '{');
    YAML::Node node(value);
    try {
      if (structured) node = YAML::Load(value);
    } catch (const YAML::Exception& error) {
      refuse(place, "broken YAML: " + error.msg);
    }
    flatten_value(
        text.substr(0, equals), node, place, [&](int) { return place; }, layer);
  }
  apply(layer);
}

template <class Check>
void ConfigLoader::check(const std::string& group, Check check) const {
  try {
    check();
  } catch (const InvalidOption& error) {
    const std::string name = full_name(group, error.field());
    const auto place = places_.find(name);
    refuse(place == places_.end() ? "" : place->second,
           InvalidOption(name, error.value(), error.legal()).what());
  }
}

/// What makes a key one that nothing reads, as in "model.name: gpt2"; empty where it is read.
std::string ConfigLoader::without_effect(const std::string& key) const {
  const std::string field = key.substr(key.find('.') + 1);
  if (starts_with(key, "model.") && !config_.model.uses(field)) {
    if (starts_with(field, "lora.")) return "model.lora.rank: 0";
    return std::string("model.name: ") + name_of(config_.model.name);
  }
  if (starts_with(key, "optimizer.") && !config_.optimizer.uses(field)) {
    return std::string("optimizer.name: ") + name_of(config_.optimizer.name);
  }
  return "";
}

/// A resolved config gives all keys, so that those at their defaults are no mistake. A preset is made
/// for its own model and optimizer: what nobody reads of it goes back to the default.
void ConfigLoader::refuse_keys_without_effect() {
  Config defaults;
  const std::vector<YamlField> untouched = yaml_fields(defaults);
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    const std::string& name = fields_[i].name;
    const std::string reason = without_effect(name);
    const std::string usual = untouched[i].get();
    if (reason.empty() || fields_[i].get() == usual) continue;
    if (places_[name] != preset_place_) {
      refuse(places_[name], name + ": has no effect with " + reason);
    }
    fields_[i].set(YAML::Load(usual));
  }
}

Config ConfigLoader::finish() {
  config_.leapverify.options.planned_steps = config_.run.steps;
  // The default is no reason to refuse a short run.
  std::int64_t& warmup = config_.schedule.warmup;
  if (places_.count("schedule.warmup") == 0) warmup = std::min(warmup, config_.run.steps);
  check("run", [&] { check_validated(config_.run); });
  check("data", [&] { config_.data.validate(); });
  refuse_keys_without_effect();
  check("model", [&] { config_.model.validate(); });
  check("leapverify", [&] { config_.leapverify.options.validate(); });
  check("batch", [&] { check_next_batch(config_); });
  check("schedule", [&] {
    if (config_.schedule.warmup > config_.run.steps) {
      throw InvalidOption("warmup", std::to_string(config_.schedule.warmup),
                          "at most run.steps = " + std::to_string(config_.run.steps));
    }
  });
  return config_;
}

}  // namespace

Config load_config(const std::string& preset, const std::string& file,
                   const std::vector<std::string>& overrides) {
  ConfigLoader loader;
  if (!preset.empty()) loader.apply_preset(preset);
  if (!file.empty()) loader.apply_file(file);
  loader.apply_overrides(overrides);
  return loader.finish();
}

}  // namespace leapverify::trainer

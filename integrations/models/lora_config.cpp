#include <leapverify/integrations/models/json_fields.h>
#include <leapverify/integrations/models/lora_config.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>
#include <vector>

namespace leapverify::models {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kDepth = 16;

/// Fields that say nothing about what adapters compute, or were looked at before. PEFT mends
/// fan_in_fan_out by itself where it is wrong.
constexpr const char* kInert[] = {"auto_mapping",   "base_model_name_or_path", "fan_in_fan_out",
                                  "inference_mode", "init_lora_weights",       "megatron_core",
                                  "peft_version",   "qalora_group_size",       "revision"};

/// The value with which a feature of PEFT is off.
json off_value(const json& value) {
  if (value.is_boolean()) return false;
  if (value.is_object()) return json::object();
  return nullptr;
}

/// Refuses all features but those whose fields were taken out before.
void refuse_other_features(const json& config, const std::string& source) {
  for (const auto& [field, value] : config.items()) {
    const auto same = [&name = field](const char* inert) { return name == inert; };
    if (std::any_of(std::begin(kInert), std::end(kInert), same)) continue;
    const json off = off_value(value);
    if (value != off && value != json::array()) refuse(source, field, value, off.dump());
  }
}

/// Takes out the fields that may have one value only.
void take_constants(json& config, const std::string& source) {
  const json type = value_of(config, "peft_type");
  if (type.is_null()) throw FormatError(source + ": peft_type is missing, expected \"LORA\"");
  require_only(config, source, "peft_type", "LORA");
  require_only(config, source, "task_type", "CAUSAL_LM");
  require_only(config, source, "bias", "none");
  // Most others change the weights of the model itself.
  const json initialisation = value_of(config, "init_lora_weights");
  if (initialisation.is_string() && initialisation != "gaussian") {
    refuse(source, "init_lora_weights", initialisation, "true, false or \"gaussian\"");
  }
  for (const char* field : {"peft_type", "task_type", "bias"}) config.erase(field);
}

bool is_list_of_names(const json& value) {
  const auto is_name = [](const json& item) { return item.is_string() && item != ""; };
  return value.is_array() && !value.empty() && std::all_of(value.begin(), value.end(), is_name);
}

LoraOptions take_options(json& config, const std::string& source) {
  fill_in(config, {{"lora_dropout", 0.0}, {"use_rslora", false}});
  LoraOptions options;
  options.rank = take<std::int64_t>(config, source, "r", "an integer", is_int64);
  options.alpha = take<double>(config, source, "lora_alpha", "a number", is_number);
  options.dropout = take<double>(config, source, "lora_dropout", "a number", is_number);
  options.rank_stabilized = take<bool>(config, source, "use_rslora", "true or false", is_switch);
  options.targets = take<std::vector<std::string>>(config, source, "target_modules",
                                                   "a list of names", is_list_of_names);
  options.validate();
  options.require_rank();
  return options;
}

}  // namespace

LoraOptions parse_lora_config(const std::string& text, const std::string& source) {
  json config = parse_object(text, kDepth, source);
  take_constants(config, source);
  try {
    LoraOptions options = take_options(config, source);
    refuse_other_features(config, source);
    options.other_fields = config.dump();
    return options;
  } catch (const InvalidOption& error) {
    refuse_lora_config(error, source);
  }
}

void refuse_lora_config(const InvalidOption& error, const std::string& source) {
  constexpr std::pair<const char*, const char*> kNames[] = {{"rank", "r"},
                                                            {"alpha", "lora_alpha"},
                                                            {"dropout", "lora_dropout"},
                                                            {"targets", "target_modules"}};
  std::string field = error.field();
  for (const auto& [ours, in_file] : kNames) {
    if (error.field() == ours) field = in_file;
  }
  throw FormatError(source + ": " + InvalidOption(field, error.value(), error.legal()).what());
}

std::string lora_config(const LoraOptions& options, bool transposed) {
  ordered_json config = {{"peft_type", "LORA"},
                         {"task_type", "CAUSAL_LM"},
                         {"base_model_name_or_path", nullptr},
                         {"r", options.rank},
                         {"lora_alpha", options.alpha},
                         {"lora_dropout", options.dropout},
                         {"use_rslora", options.rank_stabilized},
                         {"target_modules", options.targets},
                         {"bias", "none"},
                         {"init_lora_weights", true},
                         {"inference_mode", true}};
  config.update(ordered_json::parse(options.other_fields));
  // PEFT declares an integer, though it takes any number.
  if (options.alpha == std::floor(options.alpha) && options.alpha < 1e15) {
    config["lora_alpha"] = static_cast<std::int64_t>(options.alpha);
  }
  config["fan_in_fan_out"] = transposed;
  return config.dump(2) + "\n";
}

}  // namespace leapverify::models

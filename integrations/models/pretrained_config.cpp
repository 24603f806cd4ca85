#include <leapverify/integrations/models/json_fields.h>
#include <leapverify/integrations/models/pretrained_config.h>

#include <cstdint>
#include <utility>

namespace leapverify::models {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kDepth = 16;

/// Takes options out of an object, each under the name it is described with, and checks them.
/// Options of models are numbers and switches.
class ConfigReader : public FieldValidator {
 public:
  ConfigReader(json& config, const std::string& source) : config_(config), source_(source) {}

  using FieldValidator::field;

  void field(const std::string& name, std::int64_t& value, const Range& range,
             const char* meaning) override {
    value = take<std::int64_t>(config_, source_, name, "an integer", is_int64);
    FieldValidator::field(name, value, range, meaning);
  }
  void field(const std::string& name, double& value, const Range& range,
             const char* meaning) override {
    value = take<double>(config_, source_, name, "a number", is_number);
    FieldValidator::field(name, value, range, meaning);
  }
  void field(const std::string& name, bool& value, const char*) override {
    value = take<bool>(config_, source_, name, "true or false", is_switch);
  }

 private:
  json& config_;
  const std::string& source_;
};

/// Puts options into an object.
class ConfigWriter : public FieldValidator {
 public:
  explicit ConfigWriter(ordered_json& config) : config_(config) {}

  using FieldValidator::field;

  void field(const std::string& name, std::int64_t& value, const Range&, const char*) override {
    config_[name] = value;
  }
  void field(const std::string& name, double& value, const Range&, const char*) override {
    config_[name] = value;
  }
  void field(const std::string& name, bool& value, const char*) override { config_[name] = value; }

 private:
  ordered_json& config_;
};

/// Reads all options, which are then legal, and keeps the other fields.
template <class Options>
Options read_options(json config, const std::string& source) {
  Options options;
  ConfigReader reader(config, source);
  try {
    options.describe(reader);
    options.validate();
  } catch (const InvalidOption& error) {
    throw FormatError(source + ": " + error.what());
  }
  // Known by another name, under which it is written anew.
  config.erase("dtype");
  options.other_fields = config.dump();
  return options;
}

template <class Options>
std::string write_options(Options& options, const char* model_type, const char* architecture,
                          const std::string& dtype, const ordered_json& constants) {
  ordered_json config = {{"architectures", ordered_json::array({architecture})},
                         {"model_type", model_type}};
  ConfigWriter writer(config);
  options.describe(writer);
  config.update(constants);
  // Version 4 of transformers knows only this name, and version 5 reads it.
  config["torch_dtype"] = dtype;
  const auto others = ordered_json::parse(options.other_fields);
  for (const auto& [field, value] : others.items()) {
    if (!config.contains(field)) config[field] = value;
  }
  return config.dump(2) + "\n";
}

Gpt2Options read_gpt2(json config, const std::string& source) {
  require_only(config, source, "activation_function", "gelu_new");
  require_only(config, source, "scale_attn_weights", true);
  require_only(config, source, "scale_attn_by_inverse_layer_idx", false);
  require_only(config, source, "reorder_and_upcast_attn", false);
  require_only(config, source, "add_cross_attention", false);
  require_only(config, source, "tie_word_embeddings", true);
  fill_in(config, {{"embd_pdrop", 0.1},
                   {"attn_pdrop", 0.1},
                   {"resid_pdrop", 0.1},
                   {"initializer_range", 0.02}});
  const json width = value_of(config, "n_embd");
  if (width.is_number_unsigned() && width.get<std::uint64_t>() <= INT64_MAX / 4) {
    fill_in(config, {{"n_inner", 4 * width.get<std::uint64_t>()}});
  }
  return read_options<Gpt2Options>(std::move(config), source);
}

/// Every layer attends to all that came before it, or the config says otherwise.
void refuse_sliding_window(const json& config, const std::string& source) {
  const json layers = value_of(config, "layer_types");
  if (layers.is_array()) {
    for (const json& layer : layers) {
      if (layer != "full_attention") {
        refuse(source, "layer_types", layer, "\"full_attention\" everywhere");
      }
    }
    return;
  }
  const json in_use = value_of(config, "use_sliding_window");
  const json first_layer = value_of(config, "max_window_layers");
  const json layer_count = value_of(config, "num_hidden_layers");
  const bool in_no_layer = first_layer.is_number() && layer_count.is_number() &&
                           first_layer.get<double>() >= layer_count.get<double>();
  // Missing, transformers gives it a size.
  const bool no_window =
      config.contains("sliding_window") && value_of(config, "sliding_window").is_null();
  if (!in_use.is_null() && in_use != false && !in_no_layer && !no_window) {
    refuse(source, "use_sliding_window", in_use, "false");
  }
}

/// Version 5 of transformers writes an object where version 4 wrote two fields.
void take_rope_parameters(json& config, const std::string& source) {
  require_only(config, source, "rope_scaling", json());
  const json rope = value_of(config, "rope_parameters");
  if (rope.is_null()) return;
  if (!rope.is_object()) refuse(source, "rope_parameters", rope, "an object");
  for (const auto& [field, value] : rope.items()) {
    if (field == "rope_theta") {
      config["rope_theta"] = value;
    } else if (field != "rope_type" || value != "default") {
      refuse(source, "rope_parameters." + excerpt(field), value,
             "rope_theta and rope_type \"default\" only");
    }
  }
  config.erase("rope_parameters");
}

Qwen2Options read_qwen2(json config, const std::string& source) {
  require_only(config, source, "hidden_act", "silu");
  require_only(config, source, "use_mrope", false);
  require_only(config, source, "dual_chunk_attention_config", json());
  refuse_sliding_window(config, source);
  take_rope_parameters(config, source);
  fill_in(config, {{"num_key_value_heads", value_of(config, "num_attention_heads")},
                   {"attention_dropout", 0.0},
                   {"initializer_range", 0.02},
                   {"tie_word_embeddings", false}});
  const auto options = read_options<Qwen2Options>(config, source);
  // Heads of another size than the usual would need other shapes.
  require_only(config, source, "head_dim", options.width / options.heads);
  return options;
}

}  // namespace

PretrainedOptions parse_pretrained_config(const std::string& text, const std::string& source) {
  json config = parse_object(text, kDepth, source);
  const json type = value_of(config, "model_type");
  if (type.is_null()) {
    throw FormatError(source + ": model_type is missing, expected \"gpt2\" or \"qwen2\"");
  }
  require_only(config, source, "quantization_config", json());
  if (type == "gpt2") return read_gpt2(std::move(config), source);
  if (type == "qwen2") return read_qwen2(std::move(config), source);
  refuse(source, "model_type", type, "\"gpt2\" or \"qwen2\"");
}

std::string pretrained_config(Gpt2Options options, const std::string& dtype) {
  // What transformers takes for the tokens at a text's ends where none are given.
  constexpr std::int64_t kEndOfText = 50256;
  auto others = ordered_json::parse(options.other_fields);
  for (const char* field : {"bos_token_id", "eos_token_id"}) {
    if (options.vocabulary <= kEndOfText && !others.contains(field)) others[field] = nullptr;
  }
  options.other_fields = others.dump();
  return write_options(options, "gpt2", "GPT2LMHeadModel", dtype,
                       {{"activation_function", "gelu_new"}, {"tie_word_embeddings", true}});
}

std::string pretrained_config(Qwen2Options options, const std::string& dtype) {
  return write_options(options, "qwen2", "Qwen2ForCausalLM", dtype,
                       {{"hidden_act", "silu"}, {"use_sliding_window", false}});
}

}  // namespace leapverify::models

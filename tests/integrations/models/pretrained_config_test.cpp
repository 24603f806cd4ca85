// What config.json may say, and the one line for what it may not.
#include <gmock/gmock.h>
#include <leapverify/integrations/models/pretrained_config.h>
#include <leapverify/runtime/durable_files.h>

#include <nlohmann/json.hpp>

#include "runtime/refusals.h"

namespace leapverify::models {
namespace {

using nlohmann::json;

json gpt2_config() {
  return {{"model_type", "gpt2"}, {"vocab_size", 100}, {"n_positions", 32},         {"n_embd", 48},
          {"n_head", 3},          {"n_layer", 2},      {"layer_norm_epsilon", 1e-5}};
}

json qwen2_config() {
  return {{"model_type", "qwen2"},    {"vocab_size", 100},       {"max_position_embeddings", 32},
          {"hidden_size", 64},        {"intermediate_size", 96}, {"num_hidden_layers", 2},
          {"num_attention_heads", 4}, {"rope_theta", 1e6},       {"rms_norm_eps", 1e-6}};
}

PretrainedOptions parse(const json& config) {
  return parse_pretrained_config(config.dump(), "config.json");
}
Gpt2Options gpt2(const json& config) { return std::get<Gpt2Options>(parse(config)); }
Qwen2Options qwen2(const json& config) { return std::get<Qwen2Options>(parse(config)); }

void expect_refusal(const json& base, const json& changes, const std::string& words) {
  json config = base;
  config.update(changes);
  try {
    parse(config);
    ADD_FAILURE() << "accepted: " << changes;
  } catch (const FormatError& error) {
    EXPECT_EQ(error.what(), "config.json: " + words);
  }
}

TEST(PretrainedConfig, TakesASmallestGpt2WithTheDefaultsOfTransformers) {
  const Gpt2Options options = gpt2(gpt2_config());
  EXPECT_EQ(options.vocabulary, 100);
  EXPECT_EQ(options.context, 32);
  EXPECT_EQ(options.width, 48);
  EXPECT_EQ(options.heads, 3);
  EXPECT_EQ(options.layers, 2);
  EXPECT_EQ(options.inner_width, 192);
  EXPECT_EQ(options.embedding_dropout, 0.1);
  EXPECT_EQ(options.attention_dropout, 0.1);
  EXPECT_EQ(options.residual_dropout, 0.1);
  EXPECT_EQ(options.norm_epsilon, 1e-5);
  EXPECT_EQ(options.initial_deviation, 0.02);
}

TEST(PretrainedConfig, TakesASmallestQwen2WithTheDefaultsOfTransformers) {
  const Qwen2Options options = qwen2(qwen2_config());
  EXPECT_EQ(options.vocabulary, 100);
  EXPECT_EQ(options.context, 32);
  EXPECT_EQ(options.width, 64);
  EXPECT_EQ(options.inner_width, 96);
  EXPECT_EQ(options.layers, 2);
  EXPECT_EQ(options.heads, 4);
  EXPECT_EQ(options.key_value_heads, 4);
  EXPECT_EQ(options.rope_base, 1e6);
  EXPECT_EQ(options.norm_epsilon, 1e-6);
  EXPECT_EQ(options.attention_dropout, 0);
  EXPECT_EQ(options.initial_deviation, 0.02);
  EXPECT_FALSE(options.tied_embeddings);
}

TEST(PretrainedConfig, EveryFieldIsTakenAndWrittenBack) {
  const json gpt2_fields = {{"n_inner", 80},
                            {"embd_pdrop", 0.25},
                            {"attn_pdrop", 0.5},
                            {"resid_pdrop", 0.75},
                            {"layer_norm_epsilon", 1e-3},
                            {"initializer_range", 0.125},
                            {"eos_token_id", 7},
                            {"task_specific_params", {{"a", {1, 2}}}}};
  const json qwen2_fields = {{"num_key_value_heads", 2},   {"attention_dropout", 0.25},
                             {"initializer_range", 0.125}, {"tie_word_embeddings", true},
                             {"eos_token_id", {7, 8}},     {"sliding_window", 16}};
  const auto written = [](json config, const json& fields) {
    config.update(fields);
    config["dtype"] = "bfloat16";
    const auto text = std::visit(
        [](const auto& options) { return pretrained_config(options, "float32"); }, parse(config));
    const json back = json::parse(text);
    config.erase("dtype");
    config["torch_dtype"] = "float32";
    for (const auto& [field, value] : config.items()) {
      EXPECT_TRUE(back.contains(field) && back.at(field) == value) << field << " in " << text;
    }
    EXPECT_FALSE(back.contains("dtype"));
    return back;
  };
  EXPECT_EQ(written(gpt2_config(), gpt2_fields)["architectures"], json::array({"GPT2LMHeadModel"}));
  EXPECT_EQ(written(qwen2_config(), qwen2_fields)["architectures"],
            json::array({"Qwen2ForCausalLM"}));
}

TEST(PretrainedConfig, OptionsThatNoFileGaveAreWrittenAndReadBack) {
  Qwen2Options options;
  options.rope_base = 12345.5;
  const PretrainedOptions back =
      parse_pretrained_config(pretrained_config(options, "float32"), "f");
  EXPECT_EQ(std::get<Qwen2Options>(back).rope_base, 12345.5);
  const PretrainedOptions gpt2_back =
      parse_pretrained_config(pretrained_config(Gpt2Options(), "float32"), "f");
  EXPECT_EQ(std::get<Gpt2Options>(gpt2_back).width, 768);
}

TEST(PretrainedConfig, RefusesWhatIsNoJsonObject) {
  for (const char* text : {"", "[]", "{", "{\"a\": 1, \"a\": 2}"}) {
    try {
      parse_pretrained_config(text, "config.json");
      ADD_FAILURE() << "accepted: " << text;
    } catch (const FormatError& error) {
      EXPECT_TRUE(is_one_clear_line(error.what()));
    }
  }
}

TEST(PretrainedConfig, RefusesOtherModels) {
  expect_refusal(gpt2_config(), {{"model_type", "llama"}},
                 "model_type: \"llama\" is not supported, expected \"gpt2\" or \"qwen2\"");
  expect_refusal(gpt2_config(), {{"model_type", nullptr}},
                 "model_type is missing, expected \"gpt2\" or \"qwen2\"");
}

TEST(PretrainedConfig, RefusesMissingFieldsByName) {
  for (const json& base : {gpt2_config(), qwen2_config()}) {
    for (const auto& [field, value] : base.items()) {
      if (field == "model_type") continue;
      const std::string legal = value.is_number_float() ? "a number" : "an integer";
      expect_refusal(base, {{field, nullptr}}, field + " is missing, expected " + legal);
    }
  }
}

TEST(PretrainedConfig, RefusesIllegalValues) {
  expect_refusal(gpt2_config(), {{"n_embd", "48"}},
                 "n_embd: \"48\" is not legal, expected an integer");
  expect_refusal(gpt2_config(), {{"n_embd", 48.0}},
                 "n_embd: 48.0 is not legal, expected an integer");
  expect_refusal(gpt2_config(), {{"n_embd", 18446744073709551615ull}},
                 "n_embd: 18446744073709551615 is not legal, expected an integer");
  expect_refusal(gpt2_config(), {{"n_layer", 0}},
                 "n_layer: 0 is not legal, expected an integer in [1, 1024]");
  expect_refusal(gpt2_config(), {{"attn_pdrop", 1}},
                 "attn_pdrop: 1 is not legal, expected a number in [0, 1)");
  expect_refusal(gpt2_config(), {{"n_head", 5}},
                 "n_embd: 48 is not legal, expected a multiple of n_head = 5");
  expect_refusal(qwen2_config(), {{"tie_word_embeddings", 1}},
                 "tie_word_embeddings: 1 is not legal, expected true or false");
  expect_refusal(qwen2_config(), {{"rope_theta", 0}},
                 "rope_theta: 0 is not legal, expected a number > 0");
  expect_refusal(
      qwen2_config(), {{"num_key_value_heads", 3}},
      "num_key_value_heads: 3 is not legal, expected a divisor of num_attention_heads = 4");
  expect_refusal(
      qwen2_config(), {{"num_attention_heads", 64}, {"num_key_value_heads", 1}},
      "hidden_size: 64 is not legal, expected an even multiple of num_attention_heads = 64");
}

TEST(PretrainedConfig, RefusesSettingsOfOtherModels) {
  const struct {
    json base;
    const char* field;
    json value;
    const char* expected;
  } cases[] = {{gpt2_config(), "activation_function", "relu", "\"gelu_new\""},
               {gpt2_config(), "scale_attn_weights", false, "true"},
               {gpt2_config(), "scale_attn_by_inverse_layer_idx", true, "false"},
               {gpt2_config(), "reorder_and_upcast_attn", true, "false"},
               {gpt2_config(), "add_cross_attention", true, "false"},
               {gpt2_config(), "tie_word_embeddings", false, "true"},
               {gpt2_config(), "quantization_config", 4, "null"},
               {qwen2_config(), "hidden_act", "gelu", "\"silu\""},
               {qwen2_config(), "use_mrope", true, "false"},
               {qwen2_config(), "dual_chunk_attention_config", 1, "null"},
               {qwen2_config(), "rope_scaling", 2, "null"},
               {qwen2_config(), "rope_parameters", 2, "an object"},
               {qwen2_config(), "head_dim", 32, "16"}};
  for (const auto& [base, field, value, expected] : cases) {
    expect_refusal(
        base, {{field, value}},
        std::string(field) + ": " + value.dump() + " is not supported, expected " + expected);
  }
  const std::string plain = " is not supported, expected rope_theta and rope_type \"default\" only";
  expect_refusal(qwen2_config(),
                 {{"rope_parameters", {{"rope_theta", 1.0}, {"rope_type", "yarn"}}}},
                 "rope_parameters.rope_type: \"yarn\"" + plain);
  expect_refusal(qwen2_config(), {{"rope_parameters", {{"rope_theta", 1.0}, {"factor", 4.0}}}},
                 "rope_parameters.factor: 4.0" + plain);
}

TEST(PretrainedConfig, RefusesASlidingWindowThatIsInUse) {
  const json window = {{"sliding_window", 16}, {"use_sliding_window", true}};
  json config = qwen2_config();
  config.update(window);
  expect_refusal(config, json::object(),
                 "use_sliding_window: true is not supported, expected false");
  expect_refusal(qwen2_config(), {{"use_sliding_window", true}},
                 "use_sliding_window: true is not supported, expected false");
  expect_refusal(config, {{"max_window_layers", 1}},
                 "use_sliding_window: true is not supported, expected false");
  expect_refusal(qwen2_config(), {{"layer_types", {"full_attention", "sliding_attention"}}},
                 "layer_types: \"sliding_attention\" is not supported, expected \"full_attention\" "
                 "everywhere");

  for (const json& unused :
       {json{{"max_window_layers", 2}}, json{{"sliding_window", nullptr}},
        json{{"use_sliding_window", false}}, json{{"layer_types", {"full_attention"}}}}) {
    json accepted = config;
    accepted.update(unused);
    EXPECT_NO_THROW(parse(accepted)) << unused;
  }
}

TEST(PretrainedConfig, TakesTheRotaryBaseFromWhereVersion5HasIt) {
  json config = qwen2_config();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_theta", 500.0}, {"rope_type", "default"}};
  const Qwen2Options options = qwen2(config);
  EXPECT_EQ(options.rope_base, 500);
  const json back = json::parse(pretrained_config(options, "float32"));
  EXPECT_EQ(back.at("rope_theta"), 500.0);
  EXPECT_FALSE(back.contains("rope_parameters"));
}

TEST(PretrainedConfig, TokensAtTheEndsOfATextAreNoneWhereTheVocabularyEndsBeforeThem) {
  Gpt2Options options;
  EXPECT_FALSE(json::parse(pretrained_config(options, "float32")).contains("eos_token_id"));
  options.vocabulary = 256;
  EXPECT_TRUE(json::parse(pretrained_config(options, "float32")).at("eos_token_id").is_null());
  options.other_fields = R"({"eos_token_id": 3})";
  EXPECT_EQ(json::parse(pretrained_config(options, "float32")).at("eos_token_id"), 3);
}

}  // namespace
}  // namespace leapverify::models

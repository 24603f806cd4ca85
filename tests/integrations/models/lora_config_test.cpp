// What adapter_config.json may say, and the one line for what it may not.
#include <gmock/gmock.h>
#include <leapverify/integrations/models/lora_config.h>
#include <leapverify/runtime/durable_files.h>

#include <nlohmann/json.hpp>

#include "runtime/refusals.h"

namespace leapverify::models {
namespace {

using nlohmann::json;

json smallest_config() {
  return {{"peft_type", "LORA"}, {"r", 8}, {"lora_alpha", 16}, {"target_modules", {"c_attn"}}};
}

LoraOptions parse(const json& config) { return parse_lora_config(config.dump(), "file"); }

void expect_refusal(const json& changes, const std::string& words) {
  json config = smallest_config();
  config.update(changes);
  try {
    parse(config);
    ADD_FAILURE() << "accepted: " << changes;
  } catch (const FormatError& error) {
    EXPECT_EQ(error.what(), "file: " + words);
    EXPECT_TRUE(is_one_clear_line(error.what()));
  }
}

TEST(LoraConfig, TakesASmallestWithTheDefaultsOfPeft) {
  const LoraOptions options = parse(smallest_config());
  EXPECT_EQ(options.rank, 8);
  EXPECT_EQ(options.alpha, 16);
  EXPECT_EQ(options.dropout, 0);
  EXPECT_FALSE(options.rank_stabilized);
  EXPECT_EQ(options.targets, std::vector<std::string>{"c_attn"});
}

TEST(LoraConfig, TakesFeaturesThatAreOff) {
  json config = smallest_config();
  config.update(json::parse(R"({
      "alpha_pattern": {}, "auto_mapping": {"base_model_class": "GPT2LMHeadModel"}, "bias": "none",
      "base_model_name_or_path": "gpt2", "fan_in_fan_out": true, "inference_mode": true,
      "init_lora_weights": "gaussian", "layers_pattern": [], "layers_to_transform": null,
      "loftq_config": {}, "megatron_config": null, "megatron_core": "megatron.core",
      "modules_to_save": null, "peft_version": "0.21.2", "qalora_group_size": 16,
      "rank_pattern": {}, "revision": "main", "task_type": "CAUSAL_LM", "use_dora": false})"));
  EXPECT_EQ(parse(config).rank, 8);
}

TEST(LoraConfig, RefusesFeaturesByName) {
  expect_refusal({{"use_dora", true}}, "use_dora: true is not supported, expected false");
  expect_refusal({{"bias", "all"}}, "bias: \"all\" is not supported, expected \"none\"");
  expect_refusal({{"lora_bias", true}}, "lora_bias: true is not supported, expected false");
  expect_refusal({{"modules_to_save", {"lm_head"}}},
                 "modules_to_save: [\"lm_head\"] is not supported, expected null");
  expect_refusal({{"layers_to_transform", {0, 1}}},
                 "layers_to_transform: [0,1] is not supported, expected null");
  expect_refusal({{"layers_to_transform", 1}},
                 "layers_to_transform: 1 is not supported, expected null");
  expect_refusal({{"rank_pattern", {{"c_attn", 4}}}},
                 "rank_pattern: {\"c_attn\":4} is not supported, expected {}");
  expect_refusal({{"alpha_pattern", {{"c_attn", 4}}}},
                 "alpha_pattern: {\"c_attn\":4} is not supported, expected {}");
  expect_refusal({{"exclude_modules", "c_proj"}},
                 "exclude_modules: \"c_proj\" is not supported, expected null");
  expect_refusal({{"init_lora_weights", "pissa"}},
                 "init_lora_weights: \"pissa\" is not supported, expected true, false or "
                 "\"gaussian\"");
  expect_refusal({{"task_type", "SEQ_CLS"}},
                 "task_type: \"SEQ_CLS\" is not supported, expected \"CAUSAL_LM\"");
  expect_refusal({{"a_feature_of_tomorrow", 0.5}},
                 "a_feature_of_tomorrow: 0.5 is not supported, expected null");
}

TEST(LoraConfig, RefusesOtherMethods) {
  expect_refusal({{"peft_type", "IA3"}}, "peft_type: \"IA3\" is not supported, expected \"LORA\"");
  expect_refusal({{"peft_type", nullptr}}, "peft_type is missing, expected \"LORA\"");
}

TEST(LoraConfig, RefusesMissingAndIllegalFields) {
  expect_refusal({{"r", nullptr}}, "r is missing, expected an integer");
  expect_refusal({{"r", 0}}, "r: 0 is not legal, expected an integer in [1, 65536]");
  expect_refusal({{"r", 4.5}}, "r: 4.5 is not legal, expected an integer");
  expect_refusal({{"r", 70000}}, "r: 70000 is not legal, expected an integer in [0, 65536]");
  expect_refusal({{"lora_alpha", -1}}, "lora_alpha: -1 is not legal, expected a number > 0");
  expect_refusal({{"lora_dropout", 1}},
                 "lora_dropout: 1 is not legal, expected a number in [0, 1)");
  expect_refusal({{"use_rslora", 1}}, "use_rslora: 1 is not legal, expected true or false");
  expect_refusal({{"target_modules", nullptr}},
                 "target_modules is missing, expected a list of names");
  for (const json& value : {json("all-linear"), json::array(), json({"c_attn", 3})}) {
    expect_refusal({{"target_modules", value}},
                   "target_modules: " + value.dump() + " is not legal, expected a list of names");
  }
  expect_refusal({{"target_modules", {"c_attn", "c_attn"}}},
                 "target_modules: \"c_attn\" named twice is not legal, expected each name once");
  EXPECT_THROW(parse_lora_config("[]", "file"), FormatError);
}

}  // namespace
}  // namespace leapverify::models

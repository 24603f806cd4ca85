// Folders of adapters: what is written comes back, and what does not fit gets one line.
#include <gmock/gmock.h>
#include <leapverify/integrations/models/lora.h>
#include <leapverify/integrations/models/pretrained_files.h>
#include <leapverify/runtime/safetensors.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "integrations/models/small_lora.h"
#include "integrations/temporary_folder.h"
#include "runtime/refusals.h"
#include "runtime/tensor_matchers.h"

namespace leapverify::models {
namespace {

using nlohmann::json;
using testing::small_lora_options;
using testing::small_model;
using testing::small_tokens;

const char* const kFirstA = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight";

NamedTensors adapters_of(const PretrainedModel& model) {
  NamedTensors result;
  for (const StoredWeight& weight : lora_weights(model)) {
    result.emplace_back(weight.name, weight.parameter);
  }
  return result;
}

class LoraFiles : public testing::TemporaryFolder {
 protected:
  LoraFiles() {
    model_ = small_model("gpt2");
    LoraOptions options = small_lora_options({"c_attn", "mlp.c_proj"});
    options.alpha = 6.5;
    options.dropout = 0.25;
    options.rank_stabilized = true;
    add_lora(*model_, options);
    testing::randomise_adapters(*model_);
    save_lora(*model_, path("lora"));
    config_ = json::parse(read_file(path("lora/adapter_config.json")));
    weights_ = from_safetensors(read_file(path("lora/adapter_model.safetensors")), "test");
  }

  /// Writes `weights_` and expects them to be refused, and the model to stay what it is.
  void expect_refusal(const std::string& words) {
    write("lora/adapter_model.safetensors", to_safetensors(weights_));
    expect_refusal_of_folder(words);
  }
  void expect_refusal_of_config(const json& changes, const std::string& words) {
    json config = config_;
    config.update(changes);
    write("lora/adapter_config.json", config.dump());
    expect_refusal_of_folder("/adapter_config.json: " + words);
  }
  void expect_refusal_of_folder(const std::string& words) {
    const auto model = small_model("gpt2");
    const torch::Tensor before = model->forward(small_tokens());
    try {
      load_lora(*model, path("lora"));
      ADD_FAILURE() << "accepted: " << words;
    } catch (const Error& error) {
      const std::string folder = path("lora");
      std::string text = error.what();
      ASSERT_EQ(text.substr(0, folder.size()), folder);
      EXPECT_EQ(text.substr(folder.size()), words);
      EXPECT_TRUE(is_one_clear_line(text));
    }
    EXPECT_EQ(model->lora().rank, 0);
    EXPECT_TRUE(model->parameters().front().requires_grad());
    EXPECT_TRUE(bitwise_equal(model->forward(small_tokens()), before));
  }

  std::shared_ptr<PretrainedModel> model_;
  json config_;
  NamedTensors weights_;
};

TEST_F(LoraFiles, ComeBackBitwiseWithTheirOptions) {
  const auto loaded = small_model("gpt2");
  load_lora(*loaded, path("lora"));
  EXPECT_TRUE(bitwise_equal(adapters_of(*loaded), adapters_of(*model_)));
  EXPECT_EQ(loaded->lora().rank, 4);
  EXPECT_EQ(loaded->lora().alpha, 6.5);
  EXPECT_EQ(loaded->lora().dropout, 0.25);
  EXPECT_TRUE(loaded->lora().rank_stabilized);
  EXPECT_EQ(loaded->lora().targets, (std::vector<std::string>{"c_attn", "mlp.c_proj"}));
  loaded->eval();
  model_->eval();
  EXPECT_TRUE(bitwise_equal(loaded->forward(small_tokens()), model_->forward(small_tokens())));
}

TEST_F(LoraFiles, KeepWhatElseStoodInTheConfig) {
  config_.update({{"base_model_name_or_path", "somewhere/gpt2"},
                  {"revision", "main"},
                  {"use_dora", false},
                  {"inference_mode", false}});
  write("lora/adapter_config.json", config_.dump());
  const auto loaded = small_model("gpt2");
  load_lora(*loaded, path("lora"));
  save_lora(*loaded, path("again/"));
  EXPECT_EQ(json::parse(read_file(path("again/adapter_config.json"))), config_);
}

TEST_F(LoraFiles, AnyFloatingPointDtypeIsRead) {
  NamedTensors converted;
  for (const auto& [name, tensor] : weights_) converted.emplace_back(name, tensor.to(at::kHalf));
  write("lora/adapter_model.safetensors", to_safetensors(converted));
  const auto loaded = small_model("gpt2");
  load_lora(*loaded, path("lora"));
  NamedTensors expected;
  for (const auto& [name, tensor] : adapters_of(*model_)) {
    expected.emplace_back(name, tensor.to(at::kHalf).to(at::kFloat));
  }
  EXPECT_TRUE(bitwise_equal(adapters_of(*loaded), expected));
}

TEST_F(LoraFiles, RefuseAFolderWithoutThem) {
  std::filesystem::remove(path("lora/adapter_model.safetensors"));
  expect_refusal_of_folder("/adapter_model.safetensors: cannot open: No such file or directory");
  std::filesystem::remove(path("lora/adapter_config.json"));
  expect_refusal_of_folder("/adapter_config.json: cannot open: No such file or directory");
}

TEST_F(LoraFiles, RefuseAMissingTensor) {
  weights_.erase(std::find_if(weights_.begin(), weights_.end(),
                              [](const auto& item) { return item.first == kFirstA; }));
  expect_refusal(std::string(": tensor '") + kFirstA + "' [4, 24] is missing");
}

TEST_F(LoraFiles, RefuseASurplusTensor) {
  weights_.emplace_back("base_model.model.lm_head.lora_A.weight", torch::ones({4, 24}));
  expect_refusal(
      "/adapter_model.safetensors: tensor 'base_model.model.lm_head.lora_A.weight' [4, 24] is no "
      "part of the model, expected 12 tensors from '" +
      std::string(kFirstA) + "' to 'base_model.model.transformer.h.2.mlp.c_proj.lora_B.weight'");
}

TEST_F(LoraFiles, RefuseAnotherShapeOrWholeNumbers) {
  const auto replace_first_a = [&](const torch::Tensor& by) {
    for (auto& [name, tensor] : weights_) {
      if (name == kFirstA) tensor = by;
    }
  };
  const std::string first_a = "/adapter_model.safetensors: tensor '" + std::string(kFirstA) + "' ";
  replace_first_a(torch::zeros({24, 4}));
  expect_refusal(first_a + "has shape [24, 4], expected [4, 24]");
  replace_first_a(torch::zeros({4, 24}, torch::kInt64));
  expect_refusal(first_a + "[4, 24] is Long, expected floating-point numbers");
}

TEST_F(LoraFiles, RefuseTargetsThatNameNoLayer) {
  expect_refusal_of_config(
      {{"target_modules", {"c_attn", "q_proj"}}},
      "target_modules: \"q_proj\" is not legal, expected c_attn, c_proj or c_fc");
}

TEST_F(LoraFiles, RefuseAnotherRankThanTheTensors) {
  config_["r"] = 5;
  write("lora/adapter_config.json", config_.dump());
  expect_refusal_of_folder("/adapter_model.safetensors: tensor '" + std::string(kFirstA) +
                           "' has shape [4, 24], expected [5, 24]");
}

TEST_F(LoraFiles, SavingLeavesWhatIsThereAndCanBeRepeatedAfterAFailure) {
  EXPECT_THROW(save_lora(*model_, path("lora")), FileError);
  set_file_fault_hook([](const FileOperation& operation) {
    return operation.path.filename() == "adapter_model.safetensors" ? ENOSPC : 0;
  });
  EXPECT_THROW(save_lora(*model_, path("second")), FileError);
  set_file_fault_hook(nullptr);
  EXPECT_FALSE(std::filesystem::exists(path("second")));
  save_lora(*model_, path("second"));
  EXPECT_EQ(read_file(path("second/adapter_model.safetensors")),
            read_file(path("lora/adapter_model.safetensors")));
}

TEST_F(LoraFiles, AreNotLoadedOverOthersNorSavedWithoutAny) {
  EXPECT_THROW(load_lora(*model_, path("lora")), ContractError);
  EXPECT_THROW(save_lora(*small_model("gpt2"), path("second")), ContractError);
}

TEST_F(LoraFiles, AModelWithThemIsSavedAfterMergingOnly) {
  EXPECT_THAT([&] { save_pretrained(*model_, path("whole")); },
              ::testing::ThrowsMessage<ContractError>(
                  ::testing::HasSubstr("the model has LoRA adapters, expected them merged")));
  model_->eval();
  merge_lora(*model_);
  save_pretrained(*model_, path("whole"));
  const auto loaded = load_pretrained(path("whole"));
  loaded->eval();
  EXPECT_TRUE(bitwise_equal(loaded->forward(small_tokens()), model_->forward(small_tokens())));
}

}  // namespace
}  // namespace leapverify::models

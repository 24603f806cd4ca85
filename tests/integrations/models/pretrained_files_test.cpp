// Folders of weights: what is written comes back, and what does not fit gets one line.
#include <gmock/gmock.h>
#include <leapverify/integrations/models/gpt.h>
#include <leapverify/integrations/models/pretrained_files.h>
#include <leapverify/runtime/safetensors.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "integrations/models/small_pretrained.h"
#include "integrations/temporary_folder.h"
#include "runtime/refusals.h"
#include "runtime/tensor_matchers.h"

namespace leapverify::models {
namespace {

using nlohmann::json;

class PretrainedFiles : public testing::TemporaryFolder {
 protected:
  PretrainedFiles() {
    torch::manual_seed(3);
    model_ = std::make_shared<Gpt2>(testing::small_gpt2_options());
    save_pretrained(*model_, path("model"));
    weights_ = from_safetensors(read_file(path("model/model.safetensors")), "test");
  }

  /// Writes `weights_` and expects them to be refused.
  void expect_refusal(const std::string& words) {
    write("model/model.safetensors", to_safetensors(weights_));
    expect_refusal_of_folder(words);
  }
  void expect_refusal_of_folder(const std::string& words) {
    try {
      load_pretrained(path("model"));
      ADD_FAILURE() << "accepted: " << words;
    } catch (const Error& error) {
      const std::string folder = path("model");
      std::string text = error.what();
      ASSERT_EQ(text.substr(0, folder.size()), folder);
      EXPECT_EQ(text.substr(folder.size()), words);
      EXPECT_TRUE(is_one_clear_line(text));
    }
  }

  torch::Tensor& weight(const std::string& name) {
    for (auto& [found, tensor] : weights_) {
      if (found == name) return tensor;
    }
    throw std::runtime_error("no " + name);
  }
  void erase(const std::string& name) {
    weights_.erase(std::find_if(weights_.begin(), weights_.end(),
                                [&](const auto& item) { return item.first == name; }));
  }

  std::shared_ptr<Gpt2> model_;
  NamedTensors weights_;
};

NamedTensors parameters_of(const PretrainedModel& model) {
  NamedTensors result;
  for (const auto& parameter : model.named_parameters()) {
    result.emplace_back(parameter.key(), parameter.value());
  }
  return result;
}

TEST_F(PretrainedFiles, ComeBackBitwise) {
  EXPECT_TRUE(
      bitwise_equal(parameters_of(*load_pretrained(path("model"))), parameters_of(*model_)));
}

TEST_F(PretrainedFiles, StoredWeightsAreEveryParameterOnce) {
  auto untied = testing::small_qwen2_options();
  untied.tied_embeddings = false;
  const std::shared_ptr<PretrainedModel> models[] = {
      model_, std::make_shared<Qwen2>(testing::small_qwen2_options()),
      std::make_shared<Qwen2>(untied), std::make_shared<Gpt>(GptOptions())};
  for (const auto& model : models) {
    std::set<const void*> stored, parameters;
    for (const StoredWeight& weight : model->stored_weights().weights) {
      EXPECT_TRUE(stored.insert(weight.parameter.data_ptr()).second) << weight.name;
    }
    for (const torch::Tensor& parameter : model->parameters()) {
      parameters.insert(parameter.data_ptr());
    }
    EXPECT_EQ(stored, parameters) << model->name();
  }
}

TEST_F(PretrainedFiles, ShardsComeBackAndNoneIsTooLarge) {
  save_pretrained(*model_, path("shards/"), 10000);
  EXPECT_TRUE(
      bitwise_equal(parameters_of(*load_pretrained(path("shards"))), parameters_of(*model_)));
  const json index = json::parse(read_file(path("shards/model.safetensors.index.json")));
  std::set<std::string> files;
  std::size_t bytes = 0;
  for (const auto& [name, file] : index.at("weight_map").items()) files.insert(file);
  EXPECT_GT(files.size(), 2u);
  for (const std::string& file : files) {
    std::size_t of_file = 0;
    for (const auto& [name, tensor] : map_safetensors(path("shards/" + file))) {
      of_file += tensor.nbytes();
    }
    EXPECT_LE(of_file, 10000u) << file;
    bytes += of_file;
  }
  EXPECT_EQ(index.at("metadata").at("total_size"), bytes);
}

TEST_F(PretrainedFiles, ATensorLargerThanAShardHasAFileOfItsOwn) {
  save_pretrained(*model_, path("shards"), 1);
  const json index = json::parse(read_file(path("shards/model.safetensors.index.json")));
  std::set<std::string> files;
  for (const auto& [name, file] : index.at("weight_map").items()) files.insert(file);
  EXPECT_EQ(files.size(), weights_.size());
  EXPECT_EQ(files.count("model-00001-of-00040.safetensors"), 1u);
}

TEST_F(PretrainedFiles, AnyFloatingPointDtypeIsRead) {
  for (const torch::ScalarType dtype : {torch::kBFloat16, torch::kHalf, torch::kDouble}) {
    NamedTensors converted;
    for (const auto& [name, tensor] : weights_) converted.emplace_back(name, tensor.to(dtype));
    write("model/model.safetensors", to_safetensors(converted));
    const auto loaded = load_pretrained(path("model"));
    for (const auto& [name, parameter] : parameters_of(*loaded)) {
      EXPECT_EQ(parameter.scalar_type(), torch::kFloat) << name;
    }
    const torch::Tensor expected = model_->named_parameters()["blocks.1.qkv.weight"];
    EXPECT_TRUE(bitwise_equal(loaded->named_parameters()["blocks.1.qkv.weight"],
                              expected.to(dtype).to(torch::kFloat)));
  }
}

TEST_F(PretrainedFiles, AByteLevelGptIsSavedAsTheGpt2ThatItIs) {
  torch::manual_seed(9);
  GptOptions options;
  options.width = 16;
  Gpt gpt(options);
  save_pretrained(gpt, path("gpt"));
  const auto loaded = load_pretrained(path("gpt"));
  const torch::Tensor tokens = torch::randint(256, {2, 30}, torch::kInt64);
  EXPECT_TRUE(bitwise_equal(loaded->forward(tokens), gpt.forward(tokens)));
}

TEST_F(PretrainedFiles, RefuseAMissingTensor) {
  erase("transformer.h.1.mlp.c_fc.weight");
  expect_refusal(": tensor 'transformer.h.1.mlp.c_fc.weight' [24, 40] is missing");
}

TEST_F(PretrainedFiles, RefuseASurplusTensor) {
  weights_.emplace_back("transformer.h.3.ln_1.weight", torch::ones({24}));
  expect_refusal(
      "/model.safetensors: tensor 'transformer.h.3.ln_1.weight' [24] is no part of the model, "
      "expected 40 tensors from 'transformer.wte.weight' to 'transformer.ln_f.bias'");
}

TEST_F(PretrainedFiles, RefuseAnotherShape) {
  weight("transformer.h.0.attn.c_attn.weight") = torch::zeros({72, 24});
  expect_refusal(
      "/model.safetensors: tensor 'transformer.h.0.attn.c_attn.weight' has shape [72, 24], "
      "expected [24, 72]");
}

TEST_F(PretrainedFiles, RefuseWholeNumbers) {
  weight("transformer.ln_f.bias") = torch::zeros({24}, torch::kInt64);
  expect_refusal(
      "/model.safetensors: tensor 'transformer.ln_f.bias' [24] is Long, expected floating-point "
      "numbers");
}

TEST_F(PretrainedFiles, RefuseATensorUnderTwoNames) {
  weights_.emplace_back("ln_f.bias", torch::zeros({24}));
  expect_refusal("/model.safetensors: tensor 'ln_f.bias' is there as 'transformer.ln_f.bias' too");
}

TEST_F(PretrainedFiles, RefuseAHeadThatIsNotTheEmbedding) {
  weights_.emplace_back("lm_head.weight", torch::zeros({97, 24}));
  expect_refusal(
      "/model.safetensors: tensor 'lm_head.weight' [97, 24] differs from "
      "'transformer.wte.weight', expected the same values: config.json ties them");
  weight("lm_head.weight") = torch::zeros({97, 23});
  expect_refusal(
      "/model.safetensors: tensor 'lm_head.weight' has shape [97, 23], expected [97, 24]");
}

TEST_F(PretrainedFiles, RefuseAFolderWithoutThem) {
  std::filesystem::remove(path("model/model.safetensors"));
  expect_refusal_of_folder(
      ": holds no weights, expected model.safetensors or model.safetensors.index.json");
  std::filesystem::remove(path("model/config.json"));
  expect_refusal_of_folder("/config.json: cannot open: No such file or directory");
}

TEST_F(PretrainedFiles, RefuseAnIndexThatDoesNotFit) {
  std::filesystem::remove(path("model/model.safetensors"));
  write("model/part", to_safetensors(weights_));
  json map = json::object();
  for (const auto& [name, tensor] : weights_) map[name] = "part";
  const auto expect = [&](const json& index, const std::string& words) {
    write("model/model.safetensors.index.json", index.dump());
    expect_refusal_of_folder(words);
  };
  const std::string index_file = "/model.safetensors.index.json: ";
  expect(json::object(), index_file + "weight_map is missing, expected an object");
  json changed = map;
  changed["ghost"] = "part";
  expect({{"weight_map", changed}}, index_file + "tensor 'ghost' is missing in part");
  changed = map;
  changed.erase("transformer.ln_f.bias");
  expect({{"weight_map", changed}},
         "/part: tensor 'transformer.ln_f.bias' [24] is not there in model.safetensors.index.json");
  for (const json& file : {json("../part"), json("/part"), json(3)}) {
    changed = map;
    changed["transformer.ln_f.bias"] = file;
    expect({{"weight_map", changed}}, index_file + "weight_map: 'transformer.ln_f.bias' is in " +
                                          file.dump() + ", expected the name of a file");
  }
  changed["transformer.ln_f.bias"] = "gone";
  expect({{"weight_map", changed}}, "/gone: cannot open: No such file or directory");
}

TEST_F(PretrainedFiles, SavingLeavesWhatIsThere) {
  const std::string before = read_file(path("model/model.safetensors"));
  EXPECT_THROW(
      save_pretrained(*std::make_shared<Gpt2>(testing::small_gpt2_options()), path("model")),
      FileError);
  EXPECT_EQ(read_file(path("model/model.safetensors")), before);
}

TEST_F(PretrainedFiles, SavingThatFailsLeavesNoFolderAndCanBeRepeated) {
  set_file_fault_hook([](const FileOperation& operation) {
    return operation.path.filename() == "model.safetensors" ? ENOSPC : 0;
  });
  EXPECT_THROW(save_pretrained(*model_, path("second")), FileError);
  set_file_fault_hook(nullptr);
  EXPECT_FALSE(std::filesystem::exists(path("second")));
  save_pretrained(*model_, path("second"));
  EXPECT_TRUE(
      bitwise_equal(parameters_of(*load_pretrained(path("second"))), parameters_of(*model_)));
  EXPECT_FALSE(std::filesystem::exists(path("second.incomplete")));
}

TEST_F(PretrainedFiles, SavingRefusesShardsOfNothing) {
  EXPECT_THROW(save_pretrained(*model_, path("second"), 0), ContractError);
}

}  // namespace
}  // namespace leapverify::models

// Which model to train. A new model: an enumerator and name here, its options as a further group,
// its line in make_model() and model_size().
#pragma once

#include <leapverify/integrations/models/gpt2_options.h>
#include <leapverify/integrations/models/gpt_options.h>
#include <leapverify/integrations/models/lora_options.h>
#include <leapverify/integrations/models/qwen2_options.h>

#include <string>

namespace leapverify::models {

/// All but kPretrained start from fresh weights.
enum class ModelName { kGpt, kGpt2, kQwen2, kPretrained };

}  // namespace leapverify::models

namespace leapverify {
template <>
struct EnumNames<models::ModelName> {
  static constexpr Named<models::ModelName> names[] = {
      {models::ModelName::kGpt, "gpt"},
      {models::ModelName::kGpt2, "gpt2"},
      {models::ModelName::kQwen2, "qwen2"},
      {models::ModelName::kPretrained, "pretrained"}};
};
}  // namespace leapverify

namespace leapverify::models {

struct ModelOptions {
  ModelName name = ModelName::kGpt;
  /// Of a pretrained model.
  std::string folder;
  bool activation_checkpointing = false;
  GptOptions gpt;
  Gpt2Options gpt2;
  Qwen2Options qwen2;
  LoraOptions lora;

  /// Of the options of the model named alone, and of its adapters. Throws InvalidOption.
  void validate() const;

  /// Whether a field, by the name it is described under, has an effect on the model named.
  bool uses(const std::string& field) const;

  void describe(FieldVisitor& visitor);
};

}  // namespace leapverify::models

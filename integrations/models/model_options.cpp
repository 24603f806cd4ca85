#include <leapverify/integrations/models/model_options.h>
#include <leapverify/integrations/text_ends.h>

namespace leapverify::models {
namespace {

/// With the name of its group before the field's.
template <class Options>
void validate_group(const std::string& group, const Options& options) {
  try {
    options.validate();
  } catch (const InvalidOption& error) {
    throw InvalidOption(group + error.field(), error.value(), error.legal());
  }
}

}  // namespace

void ModelOptions::describe(FieldVisitor& visitor) {
  visitor.choice("name", name,
                 "the model: gpt, a small GPT-2 over bytes with the sizes below; gpt2 and qwen2 "
                 "from fresh weights; pretrained: what folder holds");
  visitor.field("folder", folder,
                "pretrained: folder of Hugging Face files, a GPT-2, Qwen2 or Qwen2.5");
  visitor.field("activation_checkpointing", activation_checkpointing,
                "less memory for a second forward pass of each block");
  gpt.describe(visitor);
  visitor.group("gpt2", gpt2);
  visitor.group("qwen2", qwen2);
  visitor.group("lora", lora);
}

void ModelOptions::validate() const {
  if (name == ModelName::kGpt) gpt.validate();
  if (name == ModelName::kGpt2) validate_group("gpt2.", gpt2);
  if (name == ModelName::kQwen2) validate_group("qwen2.", qwen2);
  validate_group("lora.", lora);
  if (name == ModelName::kPretrained && folder.empty()) {
    throw InvalidOption("folder", "\"\"", "a folder of Hugging Face files, for name: pretrained");
  }
}

bool ModelOptions::uses(const std::string& field) const {
  if (field == "name" || field == "activation_checkpointing") return true;
  if (starts_with(field, "lora.")) return field == "lora.rank" || lora.rank > 0;
  if (field == "folder") return name == ModelName::kPretrained;
  if (starts_with(field, "gpt2.")) return name == ModelName::kGpt2;
  if (starts_with(field, "qwen2.")) return name == ModelName::kQwen2;
  return name == ModelName::kGpt;
}

}  // namespace leapverify::models

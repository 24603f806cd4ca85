// Which model to train. A new model: an enumerator and name here, its options as a further group,
// its line in make_model().
#pragma once

#include <leapverify/integrations/models/gpt_options.h>

namespace leapverify::models {

enum class ModelName { kGpt };

}  // namespace leapverify::models

namespace leapverify {
template <>
struct EnumNames<models::ModelName> {
  static constexpr Named<models::ModelName> names[] = {{models::ModelName::kGpt, "gpt"}};
};
}  // namespace leapverify

namespace leapverify::models {

struct ModelOptions {
  ModelName name = ModelName::kGpt;
  GptOptions gpt;

  /// Throws InvalidOption.
  void validate() const { gpt.validate(); }

  void describe(FieldVisitor& visitor);
};

}  // namespace leapverify::models

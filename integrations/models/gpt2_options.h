// Size of a GPT-2. Apart from gpt2.h, so that configs can be read without torch.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>
#include <string>

namespace leapverify::models {

/// The fields are described under the names that they have in Hugging Face's config.json.
struct Gpt2Options {
  std::int64_t vocabulary = 50257;
  std::int64_t context = 1024;
  std::int64_t width = 768;
  std::int64_t heads = 12;
  std::int64_t layers = 12;
  std::int64_t inner_width = 3072;
  double embedding_dropout = 0.1;
  double attention_dropout = 0.1;
  double residual_dropout = 0.1;
  double norm_epsilon = 1e-5;
  double initial_deviation = 0.02;
  /// What else stood in the config.json that the options are from, as a JSON object. Written
  /// back with the model.
  std::string other_fields = "{}";

  /// Throws InvalidOption for the first option that is not legal by itself or beside the others.
  void validate() const;

  void describe(FieldVisitor& visitor);
};

}  // namespace leapverify::models

// Size of a Qwen2 or Qwen2.5. Apart from qwen2.h, so that configs can be read without torch.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>
#include <string>

namespace leapverify::models {

/// The defaults are those of Qwen2.5-0.5B. The fields are described under the names that they have
/// in Hugging Face's config.json.
struct Qwen2Options {
  std::int64_t vocabulary = 151936;
  std::int64_t context = 32768;
  std::int64_t width = 896;
  std::int64_t inner_width = 4864;
  std::int64_t layers = 24;
  std::int64_t heads = 14;
  std::int64_t key_value_heads = 2;
  double rope_base = 1e6;
  double norm_epsilon = 1e-6;
  double attention_dropout = 0;
  double initial_deviation = 0.02;
  bool tied_embeddings = true;
  /// What else stood in the config.json that the options are from, as a JSON object. Written
  /// back with the model.
  std::string other_fields = "{}";

  /// Throws InvalidOption for the first option that is not legal by itself or beside the others.
  void validate() const;

  void describe(FieldVisitor& visitor);
};

}  // namespace leapverify::models

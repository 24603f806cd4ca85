// Size of the byte-level GPT. Apart from gpt.h, so that configs can be read without torch.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>

namespace leapverify::models {

struct GptOptions {
  std::int64_t vocabulary = 256;
  std::int64_t context = 128;
  std::int64_t width = 128;
  std::int64_t heads = 4;
  std::int64_t layers = 4;
  double dropout = 0;

  /// Throws InvalidOption for the first option that is not legal by itself or beside the others.
  void validate() const;

  void describe(FieldVisitor& visitor);
};

}  // namespace leapverify::models

// Lists of tensor lengths to measure on: those of real models, so that many small tensors stand
// between few large ones, and flat ones.
#pragma once

#include <leapverify/kernels/error.h>

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace leapverify::bench {

struct Shapes {
  std::string name;
  std::vector<std::int64_t> lengths;

  std::int64_t elements() const {
    return std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  }
};

/// GPT-2 124M with tied embeddings: 12 layers of width 768, 50257 tokens, 1024 positions.
inline Shapes gpt2() {
  constexpr std::int64_t kWidth = 768;
  Shapes shapes{"gpt2-124m", {50257 * kWidth, 1024 * kWidth}};
  for (int layer = 0; layer < 12; ++layer) {
    for (const std::int64_t length :
         {kWidth, kWidth, 3 * kWidth * kWidth, 3 * kWidth, kWidth * kWidth, kWidth, kWidth, kWidth,
          4 * kWidth * kWidth, 4 * kWidth, 4 * kWidth * kWidth, kWidth}) {
      shapes.lengths.push_back(length);
    }
  }
  shapes.lengths.insert(shapes.lengths.end(), {kWidth, kWidth});
  LV_CHECK(shapes.elements() == 124439808, shapes.elements() << " elements in " << shapes.name);
  return shapes;
}

/// Qwen2.5-1.5B with tied embeddings: 28 layers of width 1536, two key-value heads of 128, MLP
/// 8960, 151936 tokens.
inline Shapes qwen() {
  constexpr std::int64_t kWidth = 1536;
  constexpr std::int64_t kKeyValue = 256;
  constexpr std::int64_t kMlp = 8960;
  Shapes shapes{"qwen2.5-1.5b", {151936 * kWidth}};
  for (int layer = 0; layer < 28; ++layer) {
    for (const std::int64_t length :
         {kWidth, kWidth * kWidth, kWidth, kKeyValue * kWidth, kKeyValue, kKeyValue * kWidth,
          kKeyValue, kWidth * kWidth, kWidth, kMlp * kWidth, kMlp * kWidth, kMlp * kWidth}) {
      shapes.lengths.push_back(length);
    }
  }
  shapes.lengths.push_back(kWidth);
  LV_CHECK(shapes.elements() == 1543714304, shapes.elements() << " elements in " << shapes.name);
  return shapes;
}

/// One tensor.
inline Shapes flat(std::int64_t elements) {
  return {"flat-" + std::to_string(elements), {elements}};
}

/// Ten thousand tensors of a few elements each.
inline Shapes tiny_tensors() {
  Shapes shapes{"tiny-tensors", {}};
  for (std::int64_t i = 0; i < 10000; ++i) shapes.lengths.push_back(i % 67);
  return shapes;
}

}  // namespace leapverify::bench

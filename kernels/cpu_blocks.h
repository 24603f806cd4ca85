// Blocks of elements as float64, and inner products of them, for the CPU versions of cosine and
// gram.
#pragma once

#include <leapverify/kernels/dtype.h>
#include <leapverify/kernels/number_formats.h>

#include <cstdint>

namespace leapverify::kernels {

template <typename Element>
void widen_block(const void* data, std::int64_t begin, std::int64_t count, double* values) {
  const auto* elements = static_cast<const Element*>(data) + begin;
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = widen<double>(elements[i]);
  }
}

/// values[i] ← element begin + i of an array of a floating dtype.
inline void widen_block(const void* data, DType dtype, std::int64_t begin, std::int64_t count,
                        double* values) {
  switch (dtype) {
    case DType::kFloat32:
      return widen_block<float>(data, begin, count, values);
    case DType::kBFloat16:
      return widen_block<BFloat16>(data, begin, count, values);
    case DType::kFloat16:
      return widen_block<Float16>(data, begin, count, values);
    case DType::kFloat64:
      return widen_block<double>(data, begin, count, values);
    case DType::kBytes:
      return;
  }
}

/// Σ a[i] · b[i] in a fixed order. Sixteen running sums, so that the loop becomes vector code
/// without leave to reorder additions.
inline double dot_block(const double* a, const double* b, std::int64_t count) {
  constexpr std::int64_t kSums = 16;
  double sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (std::int64_t j = 0; j < kSums; ++j) {
      sums[j] += a[i + j] * b[i + j];
    }
  }
  double rest = 0.0;
  for (; i < count; ++i) {
    rest += a[i] * b[i];
  }
  for (std::int64_t j = 0; j < kSums; ++j) {
    rest += sums[j];
  }
  return rest;
}

}  // namespace leapverify::kernels

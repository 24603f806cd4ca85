// Element types the kernels understand.
#pragma once

#include <leapverify/kernels/host_device.h>

#include <cstdint>

namespace leapverify::kernels {

/// kBytes stands for any other element type, counted in bytes: it can be copied and digested, not
/// computed with.
enum class DType : std::int32_t { kFloat32, kBFloat16, kFloat16, kFloat64, kBytes };

/// Bytes of one element.
LV_HOST_DEVICE constexpr std::int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return 4;
    case DType::kBFloat16:
    case DType::kFloat16:
      return 2;
    case DType::kFloat64:
      return 8;
    case DType::kBytes:
      return 1;
  }
  return 0;
}

/// "float32", "bfloat16", "float16", "float64" or "bytes".
constexpr const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kFloat16:
      return "float16";
    case DType::kFloat64:
      return "float64";
    case DType::kBytes:
      return "bytes";
  }
  return "unknown";
}

}  // namespace leapverify::kernels

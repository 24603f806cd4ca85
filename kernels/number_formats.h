// Conversions between bfloat16, float16, float32 and float64, the same on CPU and CUDA, without
// CUDA's headers. All round to nearest, ties to even; subnormals and infinities are kept; NaN stays
// NaN.
#pragma once

#include <leapverify/kernels/host_device.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace leapverify::kernels {

/// The sixteen bits of a number. Enumerations rather than structs, since loops that store structs
/// do not become vector code.
enum class BFloat16 : std::uint16_t {};
enum class Float16 : std::uint16_t {};

LV_HOST_DEVICE constexpr std::uint16_t bits_of(BFloat16 value) {
  return static_cast<std::uint16_t>(value);
}
LV_HOST_DEVICE constexpr std::uint16_t bits_of(Float16 value) {
  return static_cast<std::uint16_t>(value);
}

LV_HOST_DEVICE inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

LV_HOST_DEVICE inline std::uint64_t bits_of(double value) {
  std::uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

LV_HOST_DEVICE inline float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

LV_HOST_DEVICE inline double double_of_bits(std::uint64_t bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// `condition` ? yes : no without a branch, so that loops over it become vector code.
LV_HOST_DEVICE inline std::uint32_t select(bool condition, std::uint32_t yes, std::uint32_t no) {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

LV_HOST_DEVICE inline float to_float(BFloat16 value) {
  return float_of_bits(static_cast<std::uint32_t>(bits_of(value)) << 16);
}

LV_HOST_DEVICE inline float to_float(Float16 value) {
#ifdef __CUDA_ARCH__
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(bits_of(value)));
  return result;
#else
  const std::uint32_t sign = (bits_of(value) & 0x8000u) << 16;
  const std::uint32_t magnitude = bits_of(value) & 0x7fffu;
  const std::uint32_t subnormal =
      bits_of(static_cast<float>(static_cast<int>(magnitude)) * 0x1p-24f);
  const std::uint32_t normal = (magnitude << 13) + (112u << 23);
  const std::uint32_t not_finite = (magnitude << 13) | 0x7f800000u;
  const std::uint32_t finite = select(magnitude < 0x0400u, subnormal, normal);
  return float_of_bits(sign | select(magnitude < 0x7c00u, finite, not_finite));
#endif
}

LV_HOST_DEVICE inline BFloat16 to_bfloat16(float value) {
  const std::uint32_t bits = bits_of(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const std::uint32_t quiet_nan = (bits >> 16) | 0x0040u;
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return BFloat16{static_cast<std::uint16_t>(select(is_nan, quiet_nan, rounded))};
}

LV_HOST_DEVICE inline Float16 to_float16(float value) {
  const std::uint32_t all_bits = bits_of(value);
  const std::uint32_t sign = (all_bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = all_bits & 0x7fffffffu;
  const std::uint32_t quiet_nan = 0x7e00u | ((magnitude >> 13) & 0x01ffu);
  const bool is_nan = magnitude > 0x7f800000u;
#ifdef __CUDA_ARCH__
  std::uint16_t converted;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(converted) : "f"(value));
  return Float16{is_nan ? static_cast<std::uint16_t>(sign | quiet_nan) : converted};
#else
  const std::uint32_t normal =
      (magnitude - (112u << 23) + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
  // In [0.5, 1) float32 is spaced like the subnormals of float16: the addition does the rounding.
  const std::uint32_t subnormal = bits_of(float_of_bits(magnitude) + 0.5f) - bits_of(0.5f);
  const std::uint32_t small = select(magnitude < 0x38800000u, subnormal, normal);
  const std::uint32_t number = select(magnitude < 0x477ff000u, small, 0x7c00u);  // below 65520
  return Float16{static_cast<std::uint16_t>(sign | select(is_nan, quiet_nan, number))};
#endif
}

/// float64 to float32, inexact results going to the neighbour whose last bit is odd: rounding that
/// again to a 16-bit format gives what rounding once would (Boldo and Melquiond 2008).
LV_HOST_DEVICE inline float round_to_odd(double value) {
  const float nearest = static_cast<float>(value);
  const double back = static_cast<double>(nearest);
  const std::uint32_t bits = bits_of(nearest);
  if (back == value || value != value || (bits & 1u) != 0) {
    return nearest;
  }
  const bool rounded_up = std::fabs(back) > std::fabs(value);
  return float_of_bits(rounded_up ? bits - 1u : (bits + 1u));
}

/// Element to the wider type that sums are formed in.
template <typename Sum, typename Element>
LV_HOST_DEVICE inline Sum widen(Element element) {
  if constexpr (std::is_floating_point_v<Element>) {
    return static_cast<Sum>(element);
  } else {
    return static_cast<Sum>(to_float(element));
  }
}

/// Sum to the element type, rounded once.
template <typename Element, typename Sum>
LV_HOST_DEVICE inline Element narrow(Sum sum) {
  if constexpr (std::is_floating_point_v<Element>) {
    return static_cast<Element>(sum);
  } else {
    float single;
    if constexpr (std::is_same_v<Sum, double>) {
      single = round_to_odd(sum);
    } else {
      single = sum;
    }
    if constexpr (std::is_same_v<Element, BFloat16>) {
      return to_bfloat16(single);
    } else {
      return to_float16(single);
    }
  }
}

LV_HOST_DEVICE inline bool is_finite(float value) {
  return (bits_of(value) & 0x7f800000u) != 0x7f800000u;
}
LV_HOST_DEVICE inline bool is_finite(double value) {
  return (bits_of(value) & 0x7ff0000000000000u) != 0x7ff0000000000000u;
}
LV_HOST_DEVICE inline bool is_finite(BFloat16 value) {
  return (bits_of(value) & 0x7f80u) != 0x7f80u;
}
LV_HOST_DEVICE inline bool is_finite(Float16 value) {
  return (bits_of(value) & 0x7c00u) != 0x7c00u;
}

/// NaN with payload or sign becomes the one quiet NaN, since processors disagree on payloads.
LV_HOST_DEVICE inline float canonical_nan(float value) {
  return value == value ? value : float_of_bits(0x7fc00000u);
}
LV_HOST_DEVICE inline double canonical_nan(double value) {
  return value == value ? value : double_of_bits(0x7ff8000000000000u);
}

/// a · b + c, rounded once.
LV_HOST_DEVICE inline float fused_multiply_add(float a, float b, float c) {
#ifdef __CUDA_ARCH__
  return __fmaf_rn(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}
LV_HOST_DEVICE inline double fused_multiply_add(double a, double b, double c) {
#ifdef __CUDA_ARCH__
  return __fma_rn(a, b, c);
#else
  return std::fma(a, b, c);
#endif
}

/// √a and a / b, rounded to nearest whatever the compiler's flags say about fast division.
LV_HOST_DEVICE inline float square_root(float a) {
#ifdef __CUDA_ARCH__
  return __fsqrt_rn(a);
#else
  return std::sqrt(a);
#endif
}
LV_HOST_DEVICE inline double square_root(double a) {
#ifdef __CUDA_ARCH__
  return __dsqrt_rn(a);
#else
  return std::sqrt(a);
#endif
}
LV_HOST_DEVICE inline float divide(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}
LV_HOST_DEVICE inline double divide(double a, double b) {
#ifdef __CUDA_ARCH__
  return __ddiv_rn(a, b);
#else
  return a / b;
#endif
}

}  // namespace leapverify::kernels

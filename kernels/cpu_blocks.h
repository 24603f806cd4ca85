// Blocks of elements for the CPU versions: widened, multiplied, stored.
#pragma once

#include <leapverify/kernels/dtype.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/streaming_store.h>
#include <leapverify/kernels/vector_access.h>

#include <cstdint>

namespace leapverify::kernels {

/// Asks for `bytes` bytes from an address on that will be read soon: more requests are then under
/// way at once than the processor would start by itself. Past the end of an array it does no harm.
inline void prefetch(std::uintptr_t address, std::int64_t bytes) {
#if defined(__GNUC__)
  constexpr std::int64_t kLine = 64;
  for (std::int64_t byte = 0; byte < bytes; byte += kLine) {
    // The address may lie past the array, where no pointer may be computed.
    const auto line = address + static_cast<std::uintptr_t>(byte);
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    __builtin_prefetch(reinterpret_cast<const void*>(line), /*write=*/0, /*locality=*/2);
  }
#else
  static_cast<void>(address);
  static_cast<void>(bytes);
#endif
}

/// The same for the block of `count` elements after the one that starts at `begin`.
inline void prefetch_next_block(const TypedPointer& from, std::int64_t begin, std::int64_t count) {
  const std::int64_t size = size_of(from.dtype);
  prefetch(reinterpret_cast<std::uintptr_t>(from.data) +
               static_cast<std::uintptr_t>((begin + count) * size),
           count * size);
}

template <typename Element, typename Sum>
void widen_block(const void* data, std::int64_t begin, std::int64_t count, Sum* values) {
  const auto* elements = static_cast<const Element*>(data) + begin;
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = widen<Sum>(elements[i]);
  }
}

/// values[i] ← element begin + i of an array of a floating dtype.
template <typename Sum>
void widen_block(const TypedPointer& from, std::int64_t begin, std::int64_t count, Sum* values) {
  prefetch_next_block(from, begin, count);
  switch (from.dtype) {
    case DType::kFloat32:
      return widen_block<float>(from.data, begin, count, values);
    case DType::kBFloat16:
      return widen_block<BFloat16>(from.data, begin, count, values);
    case DType::kFloat16:
      return widen_block<Float16>(from.data, begin, count, values);
    case DType::kFloat64:
      return widen_block<double>(from.data, begin, count, values);
    case DType::kBytes:
      return;
  }
}

/// Blocks of results hold at most this many elements.
inline constexpr std::int64_t kMaxBlockElements = 1024;

/// Where a chunk's results go.
struct Destination {
  void* data;
  DType dtype;
  bool streaming;  // past the caches: call end_streaming() at the end
};

inline Destination destination_at(const Segment& segment, std::int64_t begin, bool streaming) {
  return {static_cast<char*>(segment.data) + begin * size_of(segment.dtype), segment.dtype,
          streaming};
}

/// True where a table as destination would push everything else out of the caches.
inline bool streams(const SegmentTable& destination) {
  std::int64_t bytes = 0;
  for (const Segment& segment : destination.segments()) {
    bytes += segment.length * size_of(segment.dtype);
  }
  return bytes > kStreamingBytes;
}

/// Returns the number of NaN and infinite results.
template <typename Element, typename Sum>
std::uint64_t narrow_block(const Sum* values, std::int64_t count, Element* elements) {
  std::uint32_t non_finite = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto result = narrow<Element>(canonical_nan(values[i]));
    elements[i] = result;
    non_finite += is_finite(result) ? 0u : 1u;
  }
  return non_finite;
}

template <typename Element, typename Sum>
std::uint64_t store_elements(const Sum* values, std::int64_t count, const Destination& to,
                             std::int64_t begin) {
  Element* elements = static_cast<Element*>(to.data) + begin;
  if (!to.streaming) {
    return narrow_block(values, count, elements);
  }
  alignas(64) Element staged[kMaxBlockElements];
  const std::uint64_t non_finite = narrow_block(values, count, staged);
  store_streaming(elements, staged, static_cast<std::size_t>(count) * sizeof(Element));
  return non_finite;
}

/// `count` ≤ kMaxBlockElements elements of a destination from `begin` on ← values, rounded once; returns the number of NaN and infinite
/// results.
template <typename Sum>
std::uint64_t store_block(const Sum* values, std::int64_t count, const Destination& to,
                          std::int64_t begin) {
  switch (to.dtype) {
    case DType::kFloat32:
      return store_elements<float>(values, count, to, begin);
    case DType::kBFloat16:
      return store_elements<BFloat16>(values, count, to, begin);
    case DType::kFloat16:
      return store_elements<Float16>(values, count, to, begin);
    case DType::kFloat64:
      return store_elements<double>(values, count, to, begin);
    case DType::kBytes:
      return 0;
  }
  return 0;
}

/// Eight running sums of an inner product, so that the loop becomes vector code without leave to
/// reorder additions.
inline constexpr std::int64_t kRunningSums = 8;

/// The running sums and the products of elements `begin` … `count` − 1 in a fixed order.
inline double finish_dot(const double (&sums)[kRunningSums], const double* a, const double* b,
                         std::int64_t begin, std::int64_t count) {
  double sum = 0.0;
  for (std::int64_t i = begin; i < count; ++i) {
    sum = fused_multiply_add(a[i], b[i], sum);
  }
  for (const double part : sums) {
    sum += part;
  }
  return sum;
}

/// Σ a[i] · b[i] in a fixed order.
inline double dot_block(const double* a, const double* b, std::int64_t count) {
  double sums[kRunningSums] = {};
  std::int64_t i = 0;
  for (; i + kRunningSums <= count; i += kRunningSums) {
    for (std::int64_t j = 0; j < kRunningSums; ++j) {
      sums[j] = fused_multiply_add(a[i + j], b[i + j], sums[j]);
    }
  }
  return finish_dot(sums, a, b, i, count);
}

/// The four inner products of two by two arrays, each bitwise that of dot_block: every element is
/// loaded for two products.
inline void dot_blocks(const double* a0, const double* a1, const double* b0, const double* b1,
                       std::int64_t count, double (&products)[2][2]) {
  double sums00[kRunningSums] = {};
  double sums01[kRunningSums] = {};
  double sums10[kRunningSums] = {};
  double sums11[kRunningSums] = {};
  std::int64_t i = 0;
  for (; i + kRunningSums <= count; i += kRunningSums) {
    for (std::int64_t j = 0; j < kRunningSums; ++j) {
      sums00[j] = fused_multiply_add(a0[i + j], b0[i + j], sums00[j]);
      sums01[j] = fused_multiply_add(a0[i + j], b1[i + j], sums01[j]);
      sums10[j] = fused_multiply_add(a1[i + j], b0[i + j], sums10[j]);
      sums11[j] = fused_multiply_add(a1[i + j], b1[i + j], sums11[j]);
    }
  }
  products[0][0] = finish_dot(sums00, a0, b0, i, count);
  products[0][1] = finish_dot(sums01, a0, b1, i, count);
  products[1][0] = finish_dot(sums10, a1, b0, i, count);
  products[1][1] = finish_dot(sums11, a1, b1, i, count);
}

}  // namespace leapverify::kernels

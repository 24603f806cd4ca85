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
    __builtin_prefetch(reinterpret_cast<const void*>(address + static_cast<std::uintptr_t>(byte)),
                       /*write=*/0, /*locality=*/2);
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
  constexpr std::int64_t kMaxCount = 1024;
  Element* elements = static_cast<Element*>(to.data) + begin;
  if (!to.streaming || count > kMaxCount) {
    return narrow_block(values, count, elements);
  }
  alignas(64) Element staged[kMaxCount];
  const std::uint64_t non_finite = narrow_block(values, count, staged);
  store_streaming(elements, staged, static_cast<std::size_t>(count) * sizeof(Element));
  return non_finite;
}

/// Elements begin … of a destination ← values, rounded once; returns the number of NaN and infinite
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

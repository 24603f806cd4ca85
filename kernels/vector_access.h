// Memory access by four elements or by machine words where pointers are aligned, for the bodies of
// kernels.
#pragma once

#include <leapverify/kernels/host_device.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/segment_table.h>

#include <cstdint>

namespace leapverify::kernels {

LV_HOST_DEVICE inline bool is_aligned(const void* pointer, std::uint64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

/// Four elements, loaded and stored by accesses of 8 (16-bit elements) or 16 bytes.
template <typename Element>
struct alignas(sizeof(Element) == 2 ? 8 : 16) Quad {
  Element values[4];
};

/// values[0 … 3] ← the four elements at `elements`, of which only the first `count` are read; the
/// others give zero.
template <typename Sum, typename Element>
LV_HOST_DEVICE inline void load_quad(const Element* elements, int count, Sum* values) {
  if (count >= 4 && is_aligned(elements, alignof(Quad<Element>))) {
    const Quad<Element> quad = *reinterpret_cast<const Quad<Element>*>(elements);
    LV_UNROLL
    for (int i = 0; i < 4; ++i) {
      values[i] = widen<Sum>(quad.values[i]);
    }
  } else {
    LV_UNROLL
    for (int i = 0; i < 4; ++i) {
      values[i] = i < count ? widen<Sum>(elements[i]) : Sum(0);
    }
  }
}

/// Stores the first `count` of four elements.
template <typename Element>
LV_HOST_DEVICE inline void store_quad(const Quad<Element>& quad, int count, Element* elements) {
  if (count >= 4 && is_aligned(elements, alignof(Quad<Element>))) {
    *reinterpret_cast<Quad<Element>*>(elements) = quad;
  } else {
    LV_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i < count) {
        elements[i] = quad.values[i];
      }
    }
  }
}

/// The quads a thread works on at a time: number `first`, `first` + `stride`, …, of a chunk of
/// `length` elements. Several are in flight at once to hide the latency of memory.
struct QuadSet {
  int first;
  int stride;
  int length;

  LV_HOST_DEVICE int begin(int quad) const { return 4 * (first + quad * stride); }
  LV_HOST_DEVICE int count(int quad) const {
    const int rest = length - begin(quad);
    return rest < 0 ? 0 : (rest < 4 ? rest : 4);
  }
  /// True when the first `quads` quads lie within the chunk.
  LV_HOST_DEVICE bool whole(int quads) const { return begin(quads - 1) + 4 <= length; }
};

/// values ← the elements of the quads; those past the end of the chunk give zero.
template <typename Element, typename Sum, int Quads>
LV_HOST_DEVICE inline void load_quads(const void* data, const QuadSet& set,
                                      Sum (&values)[Quads][4]) {
  LV_ASSUME_GLOBAL(data);
  const auto* elements = static_cast<const Element*>(data);
  if (set.whole(Quads) && is_aligned(elements, alignof(Quad<Element>))) {
    Quad<Element> quads[Quads];
    LV_UNROLL
    for (int q = 0; q < Quads; ++q) {
      quads[q] = *reinterpret_cast<const Quad<Element>*>(elements + set.begin(q));
    }
    LV_UNROLL
    for (int q = 0; q < Quads; ++q) {
      LV_UNROLL
      for (int i = 0; i < 4; ++i) {
        values[q][i] = widen<Sum>(quads[q].values[i]);
      }
    }
  } else {
    LV_UNROLL
    for (int q = 0; q < Quads; ++q) {
      load_quad(elements + set.begin(q), set.count(q), values[q]);
    }
  }
}

/// Stores the quads, rounded to the element type; returns the number of NaN and infinite elements.
template <typename Element, typename Sum, int Quads>
LV_HOST_DEVICE inline std::uint32_t store_quads(const Sum (&values)[Quads][4], const QuadSet& set,
                                                void* data) {
  LV_ASSUME_GLOBAL(data);
  auto* elements = static_cast<Element*>(data);
  std::uint32_t non_finite = 0;
  LV_UNROLL
  for (int q = 0; q < Quads; ++q) {
    const int count = set.count(q);
    Quad<Element> quad;
    LV_UNROLL
    for (int i = 0; i < 4; ++i) {
      quad.values[i] = narrow<Element>(canonical_nan(values[q][i]));
      non_finite += i < count && !is_finite(quad.values[i]) ? 1u : 0u;
    }
    store_quad(quad, count, elements + set.begin(q));
  }
  return non_finite;
}

/// Elements of a floating dtype.
struct TypedPointer {
  const void* data;
  DType dtype;
};

/// The element `begin` of a segment.
LV_HOST_DEVICE inline TypedPointer pointer_into(const Segment& segment, std::int64_t begin) {
  return {static_cast<const char*>(segment.data) + begin * size_of(segment.dtype), segment.dtype};
}

template <typename Sum, int Quads>
LV_HOST_DEVICE inline void load_quads(const TypedPointer& from, const QuadSet& set,
                                      Sum (&values)[Quads][4]) {
  switch (from.dtype) {
    case DType::kFloat32:
      return load_quads<float>(from.data, set, values);
    case DType::kBFloat16:
      return load_quads<BFloat16>(from.data, set, values);
    case DType::kFloat16:
      return load_quads<Float16>(from.data, set, values);
    case DType::kFloat64:
      return load_quads<double>(from.data, set, values);
    case DType::kBytes:
      break;
  }
  for (auto& quad : values) {
    for (Sum& value : quad) {
      value = Sum(0);
    }
  }
}

template <typename Sum, int Quads>
LV_HOST_DEVICE inline std::uint32_t store_quads(const Sum (&values)[Quads][4], const QuadSet& set,
                                                void* data, DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return store_quads<float>(values, set, data);
    case DType::kBFloat16:
      return store_quads<BFloat16>(values, set, data);
    case DType::kFloat16:
      return store_quads<Float16>(values, set, data);
    case DType::kFloat64:
      return store_quads<double>(values, set, data);
    case DType::kBytes:
      return 0;
  }
  return 0;
}

/// Sixteen bytes, loaded and stored by one access.
struct alignas(16) Word16 {
  std::uint64_t halves[2];
};

}  // namespace leapverify::kernels

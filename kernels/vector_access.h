// Memory access by four elements or by machine words where pointers are aligned.
#pragma once

#include <leapverify/kernels/host_device.h>
#include <leapverify/kernels/number_formats.h>

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

/// Sixteen bytes, loaded and stored by one access.
struct alignas(16) Word16 {
  std::uint64_t halves[2];
};

}  // namespace leapverify::kernels

// What one thread of the copy kernel does. Host-device, so that the CPU tests can run a launch
// thread by thread.
#pragma once

#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/vector_access.h>

namespace leapverify::kernels {

/// `bytes` bytes as words, and the bytes that are left over one by one. Both pointers are aligned
/// to words.
template <typename Word>
LV_HOST_DEVICE inline void copy_words(void* destination, const void* source, int bytes, int thread,
                                      int threads) {
  constexpr int kWords = 4;  // in flight at once, to hide the latency of memory
  constexpr int kWordBytes = sizeof(Word);
  auto* to = static_cast<Word*>(destination);
  const auto* from = static_cast<const Word*>(source);
  const int words = bytes / kWordBytes;
  for (int first = thread; first < words; first += kWords * threads) {
    Word values[kWords] = {};
    LV_UNROLL
    for (int w = 0; w < kWords; ++w) {
      if (first + w * threads < words) {
        values[w] = from[first + w * threads];
      }
    }
    LV_UNROLL
    for (int w = 0; w < kWords; ++w) {
      if (first + w * threads < words) {
        to[first + w * threads] = values[w];
      }
    }
  }
  for (int i = words * kWordBytes + thread; i < bytes; i += threads) {
    static_cast<char*>(destination)[i] = static_cast<const char*>(source)[i];
  }
}

/// The share of one of `threads` threads in a chunk, by the widest words that both places allow.
LV_HOST_DEVICE inline void copy_thread(const SegmentView& destination, const Segment* sources,
                                       std::int64_t index, int thread, int threads) {
  const Chunk chunk = destination.chunks[index];
  const Segment& segment = destination.segments[chunk.segment];
  const std::int64_t element_size = size_of(segment.dtype);
  void* to = static_cast<char*>(segment.data) + chunk.begin * element_size;
  const void* from =
      static_cast<const char*>(sources[chunk.segment].data) + chunk.begin * element_size;
  const int bytes = chunk_length(segment.length, chunk.begin) * static_cast<int>(element_size);
  if (is_aligned(to, 16) && is_aligned(from, 16)) {
    copy_words<Word16>(to, from, bytes, thread, threads);
  } else if (is_aligned(to, 8) && is_aligned(from, 8)) {
    copy_words<std::uint64_t>(to, from, bytes, thread, threads);
  } else if (is_aligned(to, 4) && is_aligned(from, 4)) {
    copy_words<std::uint32_t>(to, from, bytes, thread, threads);
  } else if (is_aligned(to, 2) && is_aligned(from, 2)) {
    copy_words<std::uint16_t>(to, from, bytes, thread, threads);
  } else {
    copy_words<std::uint8_t>(to, from, bytes, thread, threads);
  }
}

}  // namespace leapverify::kernels

// What one thread of the checksum kernel does, and the term of a word that all versions share.
// Host-device, so that the CPU tests can run a launch thread by thread.
#pragma once

#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/mix.h>
#include <leapverify/kernels/vector_access.h>

namespace leapverify::kernels {

/// The place of a word of 8 bytes among all words of a table: no two share one as long as a segment
/// stays below 2^40 words.
LV_HOST_DEVICE inline std::uint64_t word_position(std::int64_t segment, std::int64_t word) {
  return (static_cast<std::uint64_t>(segment) << 40) + static_cast<std::uint64_t>(word);
}

LV_HOST_DEVICE inline std::uint64_t word_term(std::uint64_t word, std::uint64_t position) {
  return mix(word ^ ((position + 1) * kGoldenGamma));
}

/// The position of the first word of a chunk, which starts at a whole word since kChunkElements
/// elements of any dtype are a multiple of 8 bytes.
LV_HOST_DEVICE inline std::uint64_t first_word_position(const Chunk& chunk, DType dtype) {
  return word_position(chunk.segment, chunk.begin * size_of(dtype) / 8);
}

/// `count` bytes, 1 to 8, as the low bytes of a little-endian word.
template <typename Piece>
LV_HOST_DEVICE inline std::uint64_t word_of_pieces(const void* data, int count) {
  constexpr int kPieceBytes = sizeof(Piece);
  const auto* pieces = static_cast<const Piece*>(data);
  std::uint64_t word = 0;
  for (int i = 0; i < count / kPieceBytes; ++i) {
    word |= static_cast<std::uint64_t>(pieces[i]) << (8 * kPieceBytes * i);
  }
  return word;
}

LV_HOST_DEVICE inline std::uint64_t load_word(const char* data, int count) {
  if (count == 8 && is_aligned(data, 8)) {
    return *reinterpret_cast<const std::uint64_t*>(data);
  }
  if (count % 4 == 0 && is_aligned(data, 4)) {
    return word_of_pieces<std::uint32_t>(data, count);
  }
  if (count % 2 == 0 && is_aligned(data, 2)) {
    return word_of_pieces<std::uint16_t>(data, count);
  }
  return word_of_pieces<std::uint8_t>(data, count);
}

/// The share of one of `threads` threads in the digest of a chunk.
LV_HOST_DEVICE inline std::uint64_t checksum_thread(const SegmentView& table, std::int64_t index,
                                                    int thread, int threads) {
  const Chunk chunk = table.chunks[index];
  const Segment& segment = table.segments[chunk.segment];
  const auto* data = static_cast<const char*>(pointer_into(segment, chunk.begin).data);
  const int bytes =
      chunk_length(segment.length, chunk.begin) * static_cast<int>(size_of(segment.dtype));
  const std::uint64_t first = first_word_position(chunk, segment.dtype);

  std::uint64_t sum = 0;
  int words_done = 0;
  if (is_aligned(data, 16)) {
    constexpr int kPairs = 4;  // in flight at once, to hide the latency of memory
    const auto* pairs = reinterpret_cast<const Word16*>(data);
    const int pair_count = bytes / 16;
    for (int begin = thread; begin < pair_count; begin += kPairs * threads) {
      Word16 words[kPairs] = {};
      LV_UNROLL
      for (int p = 0; p < kPairs; ++p) {
        if (begin + p * threads < pair_count) {
          words[p] = pairs[begin + p * threads];
        }
      }
      LV_UNROLL
      for (int p = 0; p < kPairs; ++p) {
        const int pair = begin + p * threads;
        if (pair < pair_count) {
          const std::uint64_t position = first + 2 * static_cast<std::uint64_t>(pair);
          sum += word_term(words[p].halves[0], position);
          sum += word_term(words[p].halves[1], position + 1);
        }
      }
    }
    words_done = 2 * pair_count;
  }
  for (int w = words_done + thread; 8 * w < bytes; w += threads) {
    const int rest = bytes - 8 * w;
    sum += word_term(load_word(data + std::int64_t{8} * w, rest < 8 ? rest : 8),
                     first + static_cast<std::uint64_t>(w));
  }
  return sum;
}

}  // namespace leapverify::kernels

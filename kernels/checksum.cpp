// Argument checks of checksum, and its CPU version.
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/checksum_thread.h>
#include <leapverify/kernels/cpu_blocks.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/parallel.h>
#include <leapverify/kernels/wide_vectors.h>

#include <algorithm>
#include <cstring>

namespace leapverify::kernels {
namespace {

constexpr std::int64_t kBlockWords = 128;
constexpr std::int64_t kWordsAhead = 512;

/// What lengths, dtypes and their order add to the digest; the elements are not looked at.
std::uint64_t shape_term(const SegmentTable& table) {
  std::uint64_t sum = 0;
  for (std::size_t s = 0; s < table.segments().size(); ++s) {
    const Segment& segment = table.segments()[s];
    const std::uint64_t length =
        mix((s + 1) * kGoldenGamma ^ static_cast<std::uint64_t>(segment.length));
    sum += mix(length + static_cast<std::uint64_t>(segment.dtype));
  }
  return sum;
}

/// Terms of `count` whole words, the first of which has the position `first`.
std::uint64_t sum_of_words(const char* data, std::int64_t count, std::uint64_t first) {
  std::uint64_t result = 0;
  with_wide_vectors([&result, data, count, first] {
    std::uint64_t sum = 0;
    for (std::int64_t block = 0; block < count; block += kBlockWords) {
      prefetch(reinterpret_cast<std::uintptr_t>(data + 8 * block) + 8 * kWordsAhead,
               8 * kBlockWords);
      const std::int64_t end = std::min(block + kBlockWords, count);
      for (std::int64_t w = block; w < end; ++w) {
        std::uint64_t word;
        std::memcpy(&word, data + 8 * w, 8);
        sum += word_term(word, first + static_cast<std::uint64_t>(w));
      }
    }
    result = sum;
  });
  return result;
}

std::uint64_t checksum_cpu(const SegmentTable& table) {
  return parallel_sum_over_chunks(table, [&](const Chunk& chunk) {
    const Segment& segment = table.segments()[static_cast<std::size_t>(chunk.segment)];
    const TypedPointer from = pointer_into(segment, chunk.begin);
    const auto* data = static_cast<const char*>(from.data);
    const std::int64_t bytes = chunk_length(segment.length, chunk.begin) * size_of(segment.dtype);
    const std::uint64_t first = first_word_position(chunk, segment.dtype);
    const std::int64_t words = bytes / 8;
    std::uint64_t sum = sum_of_words(data, words, first);
    if (bytes % 8 != 0) {
      std::uint64_t word = 0;
      std::memcpy(&word, data + 8 * words, static_cast<std::size_t>(bytes % 8));
      sum += word_term(word, first + static_cast<std::uint64_t>(words));
    }
    return sum;
  });
}

}  // namespace

void checksum(const SegmentTable& table, std::uint64_t* digest, Stream stream) {
  LV_CHECK(digest != nullptr, "digest is null");
  if (table.device().kind == DeviceKind::kCuda) {
    checksum_cuda(table, shape_term(table), digest, stream);
  } else {
    *digest += shape_term(table) + checksum_cpu(table);
  }
}

}  // namespace leapverify::kernels

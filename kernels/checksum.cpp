// Argument checks of checksum, and the CPU version that defines its meaning.
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/checksum_thread.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>

#include <cstring>

namespace leapverify::kernels {
namespace {

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

std::uint64_t checksum_cpu(const SegmentTable& table) {
  std::uint64_t sum = 0;
  for (std::size_t s = 0; s < table.segments().size(); ++s) {
    const Segment& segment = table.segments()[s];
    const auto* data = static_cast<const char*>(segment.data);
    const std::int64_t bytes = segment.length * size_of(segment.dtype);
    const std::int64_t whole_words = bytes / 8;
    const auto position = [s](std::int64_t w) {
      return word_position(static_cast<std::int64_t>(s), w);
    };
    std::uint64_t word = 0;
    for (std::int64_t w = 0; w < whole_words; ++w) {
      std::memcpy(&word, data + 8 * w, 8);
      sum += word_term(word, position(w));
    }
    if (bytes % 8 != 0) {
      word = 0;
      std::memcpy(&word, data + 8 * whole_words, static_cast<std::size_t>(bytes % 8));
      sum += word_term(word, position(whole_words));
    }
  }
  return sum;
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

// Argument checks of copy, and its CPU version.
#include <leapverify/kernels/copy.h>
#include <leapverify/kernels/cpu_blocks.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/parallel.h>
#include <leapverify/kernels/table_checks.h>

#include <cstring>

namespace leapverify::kernels {
namespace {

void copy_cpu(const SegmentTable& destination, const SegmentTable& source) {
  const bool streaming = streams(destination);
  parallel_sum_over_chunks(destination, [&](const Chunk& chunk) -> std::uint64_t {
    const auto s = static_cast<std::size_t>(chunk.segment);
    const Segment& segment = destination.segments()[s];
    const std::int64_t offset = chunk.begin * size_of(segment.dtype);
    const auto bytes = static_cast<std::size_t>(chunk_length(segment.length, chunk.begin) *
                                                size_of(segment.dtype));
    char* to = static_cast<char*>(segment.data) + offset;
    const char* from = static_cast<const char*>(source.segments()[s].data) + offset;
    if (streaming) {
      store_streaming(to, from, bytes);
      end_streaming();
    } else {
      std::memcpy(to, from, bytes);
    }
    return 0;
  });
}

}  // namespace

void copy(const SegmentTable& destination, const SegmentTable& source, Stream stream) {
  check_same_shape(destination, "destination", source, "source");
  check_same_dtypes(destination, "destination", source, "source");
  if (destination.device().kind == DeviceKind::kCuda) {
    copy_cuda(destination, source, stream);
  } else {
    copy_cpu(destination, source);
  }
}

}  // namespace leapverify::kernels

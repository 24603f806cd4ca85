// Argument checks of copy, and the CPU version that defines its meaning.
#include <leapverify/kernels/copy.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/table_checks.h>

#include <cstring>

namespace leapverify::kernels {
namespace {

void copy_cpu(const SegmentTable& destination, const SegmentTable& source) {
  for (std::size_t s = 0; s < destination.segments().size(); ++s) {
    const Segment& segment = destination.segments()[s];
    if (segment.length > 0) {
      std::memcpy(segment.data, source.segments()[s].data,
                  static_cast<std::size_t>(segment.length * size_of(segment.dtype)));
    }
  }
}

}  // namespace

void copy(const SegmentTable& destination, const SegmentTable& source, Stream stream) {
  check_same_shape(destination, "destination", source, "source");
  for (std::size_t s = 0; s < destination.segments().size(); ++s) {
    const DType expected = destination.segments()[s].dtype;
    const DType actual = source.segments()[s].dtype;
    LV_CHECK(expected == actual, "source has dtype " << name_of(actual) << " in segment " << s
                                                     << ", destination has " << name_of(expected));
  }
  if (destination.device().kind == DeviceKind::kCuda) {
    copy_cuda(destination, source, stream);
  } else {
    copy_cpu(destination, source);
  }
}

}  // namespace leapverify::kernels

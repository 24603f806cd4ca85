// Checks a list of tensors and packs it, with its chunks, into the block of bytes that kernels
// read.
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/mix.h>
#include <leapverify/kernels/segment_table.h>

#include <cstring>
#include <utility>

namespace leapverify::kernels {
namespace {

void check_segment(const Segment& segment, std::size_t index) {
  const std::int64_t element_size = size_of(segment.dtype);
  LV_CHECK(element_size > 0, "segment " << index << " has the unknown dtype "
                                        << static_cast<std::int32_t>(segment.dtype));
  LV_CHECK(segment.length >= 0,
           "segment " << index << " has length " << segment.length << ", expected 0 or more");
  LV_CHECK(segment.data != nullptr || segment.length == 0,
           "segment " << index << " of length " << segment.length << " has a null pointer");
  LV_CHECK(
      reinterpret_cast<std::uintptr_t>(segment.data) % static_cast<std::uintptr_t>(element_size) ==
          0,
      "segment " << index << " at " << segment.data << " is not aligned to the " << element_size
                 << " bytes of " << name_of(segment.dtype));
}

std::vector<Chunk> chunks_of(const std::vector<Segment>& segments) {
  std::vector<Chunk> chunks;
  for (std::size_t s = 0; s < segments.size(); ++s) {
    for (std::int64_t begin = 0; begin < segments[s].length; begin += kChunkElements) {
      chunks.push_back({static_cast<std::int64_t>(s), begin});
    }
  }
  return chunks;
}

}  // namespace

SegmentTable::SegmentTable(std::vector<Segment> segments, Device device)
    : segments_(std::move(segments)), device_(device) {
  LV_CHECK(device.ordinal >= 0, "device ordinal " << device.ordinal << ", expected 0 or more");
  shape_digest_ = mix(segments_.size() + 1);
  for (std::size_t s = 0; s < segments_.size(); ++s) {
    const Segment& segment = segments_[s];
    check_segment(segment, s);
    element_count_ += segment.length;
    shape_digest_ = mix(shape_digest_ ^ static_cast<std::uint64_t>(segment.length));
    is_floating_ = is_floating_ && segment.dtype != DType::kBytes;
  }
  const std::vector<Chunk> chunks = chunks_of(segments_);
  chunk_count_ = static_cast<std::int64_t>(chunks.size());

  const std::size_t segment_bytes = segments_.size() * sizeof(Segment);
  const std::size_t chunk_bytes = chunks.size() * sizeof(Chunk);
  bytes_.resize(segment_bytes + chunk_bytes);
  if (segment_bytes > 0) {
    std::memcpy(bytes_.data(), segments_.data(), segment_bytes);
  }
  if (chunk_bytes > 0) {
    std::memcpy(bytes_.data() + segment_bytes, chunks.data(), chunk_bytes);
  }
}

void SegmentTable::place(const void* memory) {
  LV_CHECK(reinterpret_cast<std::uintptr_t>(memory) % 16 == 0,
           "table placed at " << memory << ", which is not 16-byte aligned");
  memory_ = memory;
}

SegmentView SegmentTable::view() const {
  // The bytes themselves serve the CPU; their address is not kept, since a table may be moved.
  const void* memory = device_.kind == DeviceKind::kCpu ? bytes_.data() : memory_;
  LV_CHECK(memory != nullptr || bytes_.empty(),
           "table of " << segments_.size() << " segments on " << name_of(device_)
                       << " was not placed in the device's memory");
  SegmentView view;
  if (!bytes_.empty()) {
    view.segments = static_cast<const Segment*>(memory);
    view.chunks = reinterpret_cast<const Chunk*>(view.segments + segments_.size());
  }
  view.segment_count = static_cast<std::int64_t>(segments_.size());
  view.chunk_count = chunk_count_;
  return view;
}

}  // namespace leapverify::kernels

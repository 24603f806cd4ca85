// Describes a list of tensors to a kernel, so that one launch covers all of them.
// The table is a plain block of bytes that the caller places in the device's memory; the kernels
// themselves never allocate.
#pragma once

#include <leapverify/kernels/device.h>
#include <leapverify/kernels/dtype.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace leapverify::kernels {

/// One tensor: `length` contiguous elements. `data` may be null when `length` is 0, and needs the
/// alignment of one element only.
struct Segment {
  void* data = nullptr;
  std::int64_t length = 0;
  DType dtype = DType::kFloat32;
};

/// A run of at most kChunkElements elements of one segment: the unit of work of one block.
struct Chunk {
  std::int64_t segment = 0;
  std::int64_t begin = 0;
};

inline constexpr std::int64_t kChunkElements = 16384;

/// What device code sees: pointers into the memory given to SegmentTable::place.
struct SegmentView {
  const Segment* segments = nullptr;
  const Chunk* chunks = nullptr;
  std::int64_t segment_count = 0;
  std::int64_t chunk_count = 0;
};

/// A list of segments, all on one device, and the chunks that cover them in order (segment by
/// segment, ascending; empty segments have none). Immutable but for its place.
class SegmentTable {
 public:
  /// Throws ContractError on a negative length, a null pointer with a length above 0, a pointer
  /// that is not aligned to its element size, or a negative device ordinal.
  explicit SegmentTable(std::vector<Segment> segments, Device device = {});

  const std::vector<Segment>& segments() const { return segments_; }
  Device device() const { return device_; }

  /// Sum of the lengths.
  std::int64_t element_count() const { return element_count_; }

  /// Number of chunks that cover the segments.
  std::int64_t chunk_count() const { return chunk_count_; }

  /// True when no segment is of dtype kBytes.
  bool is_floating() const { return is_floating_; }

  /// Equal for two tables when they hold equally many segments of the same lengths in the same
  /// order.
  std::uint64_t shape_digest() const { return shape_digest_; }

  /// The packed table. A table for a CUDA device must be copied there and placed before use; one
  /// for the CPU is placed from the start.
  const std::vector<std::byte>& bytes() const { return bytes_; }

  /// Tells where a copy of bytes() lies in the device's memory, 16-byte aligned. It must outlive
  /// every kernel that uses the table. Without effect on a table for the CPU.
  /// Throws ContractError on a misaligned pointer.
  void place(const void* memory);

  /// Throws ContractError when a CUDA table that holds segments has not been placed.
  SegmentView view() const;

 private:
  std::vector<Segment> segments_;
  std::vector<std::byte> bytes_;
  Device device_;
  const void* memory_ = nullptr;
  std::int64_t element_count_ = 0;
  std::int64_t chunk_count_ = 0;
  std::uint64_t shape_digest_ = 0;
  bool is_floating_ = true;
};

}  // namespace leapverify::kernels

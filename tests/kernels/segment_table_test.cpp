#include <leapverify/kernels/segment_table.h>

#include <gmock/gmock.h>

#include <algorithm>
#include <utility>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

Segment segment_of(std::int64_t length, DType dtype = DType::kFloat32) {
  return {reinterpret_cast<void*>(std::uintptr_t{4096}), length, dtype};
}

TEST(SegmentTable, OfNothingHasNoChunks) {
  const SegmentTable table({});
  EXPECT_EQ(table.element_count(), 0);
  EXPECT_EQ(table.view().chunk_count, 0);
  EXPECT_EQ(table.view().segment_count, 0);
  EXPECT_TRUE(table.bytes().empty());
}

TEST(SegmentTable, ChunksCoverEverySegmentOnceInOrder) {
  const std::vector<std::int64_t> lengths = {
      0, 1, kChunkElements - 1, kChunkElements, 0, kChunkElements + 1, 3 * kChunkElements};
  std::vector<Segment> segments;
  for (const std::int64_t length : lengths) {
    segments.push_back(segment_of(length));
  }
  const SegmentTable table(segments);
  const SegmentView view = table.view();
  std::int64_t c = 0;
  std::int64_t elements = 0;
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    EXPECT_EQ(view.segments[s].length, lengths[s]);
    elements += lengths[s];
    for (std::int64_t begin = 0; begin < lengths[s]; begin += kChunkElements, ++c) {
      ASSERT_LT(c, view.chunk_count);
      EXPECT_EQ(view.chunks[c].segment, static_cast<std::int64_t>(s)) << "chunk " << c;
      EXPECT_EQ(view.chunks[c].begin, begin) << "chunk " << c;
    }
  }
  EXPECT_EQ(view.chunk_count, c);
  EXPECT_EQ(table.chunk_count(), c);
  EXPECT_EQ(table.element_count(), elements);
}

TEST(SegmentTable, ShapeDigestDependsOnLengthsAndOrderOnly) {
  const SegmentTable table({segment_of(3), segment_of(5)});
  const SegmentTable same({segment_of(3, DType::kFloat64), segment_of(5)});
  EXPECT_EQ(table.shape_digest(), same.shape_digest());
  EXPECT_NE(table.shape_digest(), SegmentTable({segment_of(5), segment_of(3)}).shape_digest());
  EXPECT_NE(table.shape_digest(), SegmentTable({segment_of(3)}).shape_digest());
  EXPECT_NE(SegmentTable({segment_of(0)}).shape_digest(), SegmentTable({}).shape_digest());
  EXPECT_NE(SegmentTable({segment_of(0)}).shape_digest(),
            SegmentTable({segment_of(0), segment_of(0)}).shape_digest());
}

TEST(SegmentTable, CountsBeyondThirtyTwoBits) {
  const std::int64_t length = (std::int64_t{1} << 33) + 1;
  const SegmentTable table({segment_of(length)});
  EXPECT_EQ(table.element_count(), length);
  EXPECT_EQ(table.chunk_count(), (length + kChunkElements - 1) / kChunkElements);
  EXPECT_EQ(table.view().chunks[table.chunk_count() - 1].begin, length - 1);
}

TEST(SegmentTable, OfTheCpuStaysPlacedWhenCopiedOrMoved) {
  auto original = std::make_unique<SegmentTable>(std::vector<Segment>{segment_of(7)});
  SegmentTable copied = *original;
  const SegmentTable moved = std::move(*original);
  original.reset();
  EXPECT_EQ(copied.view().segments[0].length, 7);
  EXPECT_EQ(moved.view().segments[0].length, 7);
  EXPECT_EQ(static_cast<const void*>(copied.view().segments), copied.bytes().data());
}

TEST(SegmentTable, OfAGpuMustBePlacedBeforeUse) {
  SegmentTable table({segment_of(7)}, {DeviceKind::kCuda, 1});
  EXPECT_REFUSED(table.view(), "table of 1 segments on cuda:1 was not placed");
  EXPECT_REFUSED(table.place(reinterpret_cast<void*>(std::uintptr_t{8})), "0x8");
  const auto* memory = reinterpret_cast<const Segment*>(std::uintptr_t{64});
  table.place(memory);
  EXPECT_EQ(table.view().segments, memory);
  EXPECT_EQ(static_cast<const void*>(table.view().chunks), memory + 1);
  EXPECT_EQ(SegmentTable({}, {DeviceKind::kCuda, 0}).view().chunk_count, 0);
}

TEST(SegmentTable, RefusesBadSegments) {
  EXPECT_REFUSED(SegmentTable({segment_of(1), segment_of(-3)}), "segment 1 has length -3");
  EXPECT_REFUSED(SegmentTable({{nullptr, 4}}), "segment 0 of length 4 has a null pointer");
  EXPECT_REFUSED(SegmentTable({{reinterpret_cast<void*>(std::uintptr_t{6}), 4}}),
                 "segment 0 at 0x6 is not aligned to the 4 bytes of float32");
  EXPECT_REFUSED(SegmentTable({segment_of(1, static_cast<DType>(17))}), "unknown dtype 17");
  EXPECT_REFUSED(SegmentTable({}, {DeviceKind::kCuda, -1}), "device ordinal -1");
}

TEST(SegmentTable, TakesNullForEmptyAndAnyAlignmentForBytes) {
  EXPECT_NO_THROW(SegmentTable({{nullptr, 0}}));
  EXPECT_NO_THROW(SegmentTable({{reinterpret_cast<void*>(std::uintptr_t{5}), 4, DType::kBytes}}));
}

TEST(SegmentTable, IsFloatingUnlessASegmentIsBytes) {
  EXPECT_TRUE(SegmentTable({segment_of(1), segment_of(1, DType::kFloat16)}).is_floating());
  EXPECT_FALSE(SegmentTable({segment_of(1), segment_of(1, DType::kBytes)}).is_floating());
}

}  // namespace
}  // namespace leapverify::kernels::testing

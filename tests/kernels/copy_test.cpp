// copy, on both devices: every byte arrives, no other byte changes.
#include <leapverify/kernels/copy.h>

#include <gmock/gmock.h>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

class Copy : public DeviceTest {};
LV_INSTANTIATE_FOR_DEVICES(Copy);

void expect_copied(const std::vector<TensorSpec>& from, const std::vector<TensorSpec>& to,
                   std::mt19937_64& random, Device device) {
  Tensors source(from, device);
  Tensors destination(to, device);
  for (std::size_t s = 0; s < source.size(); ++s) {
    for (std::size_t i = 0; i < source.byte_count(s); ++i) {
      source.host(s)[i] = static_cast<std::byte>(random());
    }
  }
  source.upload();
  copy(destination.table(), source.table());
  destination.download();
  for (std::size_t s = 0; s < source.size(); ++s) {
    EXPECT_TRUE(same_bytes("segment " + std::to_string(s), to[s].dtype, source.bytes(s),
                           destination.bytes(s)));
  }
  EXPECT_TRUE(destination.guards_untouched());
}

TEST_P(Copy, MovesAnyBytesOfEveryDTypeAtEdgeLengthsAndAlignments) {
  const std::uint64_t seed = 21;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const DType dtype :
       {DType::kFloat32, DType::kBFloat16, DType::kFloat16, DType::kFloat64, DType::kBytes}) {
    for (const std::int64_t shift : {0, 1, 2}) {
      SCOPED_TRACE(::testing::Message() << name_of(dtype) << ", shift " << shift);
      expect_copied(edge_specs({dtype}, 0), edge_specs({dtype}, shift), random, device());
    }
  }
}

TEST_P(Copy, MovesBytesBetweenAllAlignments) {
  const std::uint64_t seed = 22;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (std::int64_t to = 0; to < 17; ++to) {
    for (std::int64_t from = 0; from < 17; ++from) {
      SCOPED_TRACE(::testing::Message() << "from offset " << from << " to " << to);
      expect_copied({{DType::kBytes, 77, from}}, {{DType::kBytes, 77, to}}, random, device());
    }
  }
}

TEST_P(Copy, KeepsTheSignOfZeroAndThePayloadOfNaN) {
  Tensors source({{DType::kFloat32, 3}}, device());
  Tensors destination({{DType::kFloat32, 3}}, device());
  const std::uint32_t bits[3] = {0x80000000u, 0xff800001u, 0x7fc12345u};
  std::memcpy(source.host(0), bits, sizeof bits);
  source.upload();
  copy(destination.table(), source.table());
  destination.download();
  EXPECT_EQ(std::memcmp(destination.host(0), bits, sizeof bits), 0);
}

TEST_P(Copy, DoesNothingForEmptyLists) {
  Tensors nothing({}, device());
  copy(nothing.table(), nothing.table());
  Tensors empty({{DType::kFloat32, 0}, {DType::kBytes, 0}}, device());
  copy(empty.table(), empty.table());
  empty.download();
  EXPECT_TRUE(empty.guards_untouched());
}

TEST_P(Copy, RefusesWhatDoesNotFit) {
  Tensors five({{DType::kFloat16, 5}}, device());
  Tensors six({{DType::kFloat16, 6}}, device());
  Tensors two({{DType::kFloat16, 5}, {DType::kFloat16, 5}}, device());
  Tensors other({{DType::kBFloat16, 5}}, device());
  EXPECT_REFUSED(copy(five.table(), six.table()),
                 "source has length 6 in segment 0, destination has 5");
  EXPECT_REFUSED(copy(five.table(), two.table()), "source has 2 segments, destination has 1");
  EXPECT_REFUSED(copy(five.table(), other.table()),
                 "source has dtype bfloat16 in segment 0, destination has float16");
}

TEST(CopyOnCpu, RefusesOtherDevices) {
  Tensors five({{DType::kFloat16, 5}}, {});
  const SegmentTable elsewhere(five.table().segments(), {DeviceKind::kCuda, 0});
  EXPECT_REFUSED(copy(five.table(), elsewhere), "source is on cuda:0, destination on cpu");
}

}  // namespace
}  // namespace leapverify::kernels::testing

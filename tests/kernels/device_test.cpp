#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/device.h>
#include <leapverify/kernels/dtype.h>
#include <leapverify/kernels/error.h>

#include <gmock/gmock.h>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

TEST(Device, IsNamedByKindAndOrdinal) {
  EXPECT_EQ(name_of(Device{}), "cpu");
  EXPECT_EQ(name_of(Device{DeviceKind::kCuda, 3}), "cuda:3");
}

TEST(Device, DiffersByKindAndByOrdinal) {
  EXPECT_EQ((Device{DeviceKind::kCuda, 1}), (Device{DeviceKind::kCuda, 1}));
  EXPECT_NE((Device{DeviceKind::kCuda, 1}), (Device{DeviceKind::kCuda, 0}));
  EXPECT_NE((Device{DeviceKind::kCuda, 0}), (Device{DeviceKind::kCpu, 0}));
}

TEST(DType, KnowsNamesAndSizes) {
  EXPECT_STREQ(name_of(DType::kBFloat16), "bfloat16");
  EXPECT_STREQ(name_of(DType::kBytes), "bytes");
  EXPECT_EQ(size_of(DType::kFloat32), 4);
  EXPECT_EQ(size_of(DType::kBFloat16), 2);
  EXPECT_EQ(size_of(DType::kFloat16), 2);
  EXPECT_EQ(size_of(DType::kFloat64), 8);
  EXPECT_EQ(size_of(DType::kBytes), 1);
}

TEST(Error, CheckNamesExpressionPlaceAndValues) {
  const int count = 7;
  EXPECT_REFUSED(LV_CHECK(count < 5, count << " tensors, expected fewer than " << 5),
                 "7 tensors, expected fewer than 5 [count < 5 is false at ");
  EXPECT_REFUSED(LV_CHECK(count < 5, "too many"), "device_test.cpp:");
}

TEST(Error, DeviceErrorNamesCallCodeAndDescription) {
  EXPECT_THAT([] { detail::throw_device_error("launch()", "a.cu", 3, "cudaErrorX", "broken"); },
              ::testing::ThrowsMessage<DeviceError>(
                  ::testing::HasSubstr("launch() failed with cudaErrorX: broken [at a.cu:3]")));
}

#ifndef LEAPVERIFY_CUDA
TEST(Error, TablesOfAGpuAreRefusedByABuildWithoutIt) {
  float value = 0;
  const SegmentTable table({{&value, 1}}, {DeviceKind::kCuda, 2});
  std::uint64_t digest = 0;
  EXPECT_FALSE(cuda_available());
  EXPECT_REFUSED(checksum(table, &digest), "built without CUDA: memory is on cuda:2");
}
#endif

}  // namespace
}  // namespace leapverify::kernels::testing

// Memory of either device for the kernel tests, and lists of tensors in it with guard bytes around.
#pragma once

#include <leapverify/kernels/error.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/reference.h>
#include <leapverify/kernels/segment_table.h>

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#ifdef LEAPVERIFY_CUDA
#include <cuda_runtime.h>
#endif

namespace leapverify::kernels::testing {

/// A block of bytes on a device; copies to and from it synchronise.
class DeviceMemory {
 public:
  DeviceMemory(std::size_t bytes, Device device) : bytes_(bytes), device_(device) {
    if (device.kind == DeviceKind::kCpu) {
      data_ = ::operator new(bytes + 1, std::align_val_t(256));
      return;
    }
#ifdef LEAPVERIFY_CUDA
    check(cudaMalloc(&data_, bytes + 1));
#endif
  }
  ~DeviceMemory() {
    if (device_.kind == DeviceKind::kCpu) {
      ::operator delete(data_, std::align_val_t(256));
      return;
    }
#ifdef LEAPVERIFY_CUDA
    (void)cudaFree(data_);
#endif
  }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  std::byte* data() const { return static_cast<std::byte*>(data_); }

  void upload(const void* from) const { upload(0, from, bytes_); }
  void download(void* to) const { download(0, to, bytes_); }

  /// The part of `bytes` bytes from `offset` on.
  void upload(std::size_t offset, const void* from, std::size_t bytes) const {
    transfer(data() + offset, from, bytes);
  }
  void download(std::size_t offset, void* to, std::size_t bytes) const {
    transfer(to, data() + offset, bytes);
  }

  void fill(int byte) const {
    if (device_.kind == DeviceKind::kCpu) {
      std::memset(data_, byte, bytes_);
      return;
    }
#ifdef LEAPVERIFY_CUDA
    check(cudaMemset(data_, byte, bytes_));
#endif
  }

 private:
  void transfer(void* to, const void* from, std::size_t bytes) const {
    if (bytes == 0) {
      return;
    }
    if (device_.kind == DeviceKind::kCpu) {
      std::memcpy(to, from, bytes);
      return;
    }
#ifdef LEAPVERIFY_CUDA
    check(cudaDeviceSynchronize());
    check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
#endif
  }

#ifdef LEAPVERIFY_CUDA
  static void check(cudaError_t status) {
    if (status != cudaSuccess) {
      throw DeviceError(cudaGetErrorString(status));
    }
  }
#endif

  std::size_t bytes_;
  Device device_;
  void* data_ = nullptr;
};

/// A few values of one type on a device, with guard bytes after them.
template <typename Value>
class DeviceArray {
 public:
  DeviceArray(const std::vector<Value>& values, Device device)
      : count_(values.size()), memory_(values.size() * sizeof(Value) + kGuardBytes, device) {
    memory_.fill(kGuard);
    memory_.upload(0, values.data(), count_ * sizeof(Value));
  }

  Value* data() const { return reinterpret_cast<Value*>(memory_.data()); }

  std::vector<Value> download() const {
    std::vector<Value> values(count_);
    memory_.download(0, values.data(), count_ * sizeof(Value));
    unsigned char guards[kGuardBytes];
    memory_.download(count_ * sizeof(Value), guards, kGuardBytes);
    for (const unsigned char guard : guards) {
      EXPECT_EQ(guard, kGuard) << "written past the end of " << count_ << " values";
    }
    return values;
  }

 private:
  static constexpr std::size_t kGuardBytes = 64;
  static constexpr int kGuard = 0xa5;

  std::size_t count_;
  DeviceMemory memory_;
};

using reference::element;

inline void set_value(void* data, DType dtype, std::int64_t index, double value) {
  switch (dtype) {
    case DType::kFloat32:
      static_cast<float*>(data)[index] = static_cast<float>(value);
      return;
    case DType::kBFloat16:
      static_cast<BFloat16*>(data)[index] = narrow<BFloat16>(value);
      return;
    case DType::kFloat16:
      static_cast<Float16*>(data)[index] = narrow<Float16>(value);
      return;
    case DType::kFloat64:
      static_cast<double*>(data)[index] = value;
      return;
    case DType::kBytes:
      static_cast<unsigned char*>(data)[index] = static_cast<unsigned char>(value);
      return;
  }
}

struct TensorSpec {
  DType dtype = DType::kFloat32;
  std::int64_t length = 0;
  std::int64_t offset = 0;  // elements past a boundary of 256 bytes
};

/// Tensors of one device with guard bytes between them. Edit host(), upload(), run a kernel on
/// table(), download(), look at host() again.
class Tensors {
 public:
  Tensors(std::vector<TensorSpec> specs, Device device) : specs_(std::move(specs)) {
    std::size_t end = kBoundary;
    for (const TensorSpec& spec : specs_) {
      const auto size = static_cast<std::size_t>(size_of(spec.dtype));
      begins_.push_back(end + static_cast<std::size_t>(spec.offset) * size);
      end = begins_.back() + static_cast<std::size_t>(spec.length) * size;
      end = (end / kBoundary + 2) * kBoundary;
    }
    arena_.assign(end, kGuard);
    memory_ = std::make_unique<DeviceMemory>(end, device);
    std::vector<Segment> segments;
    for (std::size_t s = 0; s < specs_.size(); ++s) {
      segments.push_back({memory_->data() + begins_[s], specs_[s].length, specs_[s].dtype});
    }
    table_ = std::make_unique<SegmentTable>(segments, device);
    table_memory_ = std::make_unique<DeviceMemory>(table_->bytes().size(), device);
    table_memory_->upload(table_->bytes().data());
    table_->place(table_memory_->data());
    for (std::size_t s = 0; s < specs_.size(); ++s) {
      std::memset(host(s), 0, byte_count(s));
    }
    upload();
  }

  const SegmentTable& table() const { return *table_; }
  std::size_t size() const { return specs_.size(); }
  const TensorSpec& spec(std::size_t s) const { return specs_[s]; }
  std::size_t byte_count(std::size_t s) const {
    return static_cast<std::size_t>(specs_[s].length * size_of(specs_[s].dtype));
  }

  std::byte* host(std::size_t s) { return arena_.data() + begins_[s]; }
  std::vector<std::byte> bytes(std::size_t s) {
    return std::vector<std::byte>(host(s), host(s) + byte_count(s));
  }
  double get(std::size_t s, std::int64_t i) { return element(host(s), specs_[s].dtype, i); }
  void set(std::size_t s, std::int64_t i, double value) {
    set_value(host(s), specs_[s].dtype, i, value);
  }

  /// Standard normal values (random bytes for kBytes), uploaded.
  void randomize(std::mt19937_64& random) {
    std::normal_distribution<double> normal;
    for (std::size_t s = 0; s < size(); ++s) {
      for (std::int64_t i = 0; i < specs_[s].length; ++i) {
        const bool is_bytes = specs_[s].dtype == DType::kBytes;
        set(s, i, is_bytes ? static_cast<double>(random() % 256) : normal(random));
      }
    }
    upload();
  }

  void upload() { memory_->upload(arena_.data()); }
  void download() { memory_->download(arena_.data()); }

  /// Looks at the downloaded bytes outside of the tensors.
  ::testing::AssertionResult guards_untouched() {
    std::vector<bool> inside(arena_.size(), false);
    for (std::size_t s = 0; s < size(); ++s) {
      for (std::size_t i = 0; i < byte_count(s); ++i) {
        inside[begins_[s] + i] = true;
      }
    }
    for (std::size_t i = 0; i < arena_.size(); ++i) {
      if (!inside[i] && arena_[i] != kGuard) {
        return ::testing::AssertionFailure() << "guard byte " << i << " was overwritten";
      }
    }
    return ::testing::AssertionSuccess();
  }

 private:
  static constexpr std::size_t kBoundary = 256;
  static constexpr std::byte kGuard{0xa5};

  std::vector<TensorSpec> specs_;
  std::vector<std::size_t> begins_;
  std::vector<std::byte> arena_;
  std::unique_ptr<DeviceMemory> memory_;
  std::unique_ptr<DeviceMemory> table_memory_;
  std::unique_ptr<SegmentTable> table_;
};

/// Equal bytes; names the first element that differs, with both values.
inline ::testing::AssertionResult same_bytes(const std::string& name, DType dtype,
                                             const std::vector<std::byte>& expected,
                                             const std::vector<std::byte>& actual) {
  if (expected.size() != actual.size()) {
    return ::testing::AssertionFailure()
           << name << " has " << actual.size() << " bytes, expected " << expected.size();
  }
  const auto size = static_cast<std::size_t>(size_of(dtype));
  for (std::size_t i = 0; i + size <= expected.size(); i += size) {
    if (std::memcmp(expected.data() + i, actual.data() + i, size) != 0) {
      const auto index = static_cast<std::int64_t>(i / size);
      return ::testing::AssertionFailure()
             << name << "[" << index << "] is " << element(actual.data(), dtype, index)
             << ", expected " << element(expected.data(), dtype, index) << " (" << name_of(dtype)
             << ")";
    }
  }
  return ::testing::AssertionSuccess();
}

/// |actual − expected| ≤ tolerance at every index; names the first that is not, with both values.
inline ::testing::AssertionResult all_near(const std::string& name,
                                           const std::vector<double>& expected,
                                           const std::vector<double>& actual,
                                           const std::vector<double>& tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const bool near = std::abs(actual[i] - expected[i]) <= tolerance[i];
    if (!near && !(actual[i] != actual[i] && expected[i] != expected[i])) {
      return ::testing::AssertionFailure() << name << "[" << i << "] is " << actual[i]
                                           << ", expected " << expected[i] << " ± " << tolerance[i];
    }
  }
  return ::testing::AssertionSuccess();
}

/// Runs each test on the CPU and on the first GPU.
class DeviceTest : public ::testing::TestWithParam<DeviceKind> {
 protected:
  void SetUp() override {
    if (GetParam() == DeviceKind::kCuda && !cuda_available()) {
      GTEST_SKIP() << "no CUDA device";
    }
  }
  static Device device() { return {GetParam(), 0}; }
};

inline std::string name_of_kind(const ::testing::TestParamInfo<DeviceKind>& info) {
  return info.param == DeviceKind::kCpu ? "cpu" : "cuda";
}

#define LV_INSTANTIATE_FOR_DEVICES(Suite)                                               \
  INSTANTIATE_TEST_SUITE_P(Device, Suite,                                               \
                           ::testing::Values(::leapverify::kernels::DeviceKind::kCpu,   \
                                             ::leapverify::kernels::DeviceKind::kCuda), \
                           ::leapverify::kernels::testing::name_of_kind)

/// EXPECT_REFUSED(call, "part of the message"): the call throws ContractError with these words.
#define EXPECT_REFUSED(call, words) \
  EXPECT_THAT([&] { call; },        \
              ::testing::ThrowsMessage<::leapverify::ContractError>(::testing::HasSubstr(words)))

inline constexpr DType kFloatingDTypes[] = {DType::kFloat32, DType::kBFloat16, DType::kFloat16,
                                            DType::kFloat64};

/// Lengths around the widths of vectors, of threads' steps and of chunks.
inline const std::vector<std::int64_t> kEdgeLengths = {0,
                                                       1,
                                                       2,
                                                       3,
                                                       4,
                                                       5,
                                                       7,
                                                       8,
                                                       9,
                                                       15,
                                                       16,
                                                       17,
                                                       1023,
                                                       1024,
                                                       1025,
                                                       4095,
                                                       4096,
                                                       4097,
                                                       16383,
                                                       kChunkElements,
                                                       kChunkElements + 1,
                                                       2 * kChunkElements,
                                                       2 * kChunkElements + 3};

/// One tensor per edge length; `dtypes` and misalignments take turns.
inline std::vector<TensorSpec> edge_specs(const std::vector<DType>& dtypes, std::int64_t shift) {
  std::vector<TensorSpec> specs;
  for (std::size_t s = 0; s < kEdgeLengths.size(); ++s) {
    const std::int64_t offset = (static_cast<std::int64_t>(s) + shift) % 3;
    specs.push_back({dtypes[s % dtypes.size()], kEdgeLengths[s], offset});
  }
  return specs;
}

}  // namespace leapverify::kernels::testing

// Where memory lives and in which order work on it runs, without CUDA's headers.
#pragma once

#include <cstdint>
#include <string>

struct CUstream_st;

namespace leapverify::kernels {

/// The same type as cudaStream_t; null is the default stream. Ignored by the CPU versions.
using Stream = CUstream_st*;

enum class DeviceKind : std::int32_t { kCpu, kCuda };

/// A CUDA device by its ordinal, or the CPU (ordinal 0).
struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  std::int32_t ordinal = 0;

  friend bool operator==(Device a, Device b) { return a.kind == b.kind && a.ordinal == b.ordinal; }
  friend bool operator!=(Device a, Device b) { return !(a == b); }
};

/// "cpu" or "cuda:<ordinal>".
std::string name_of(Device device);

/// True when the library was built with CUDA and the driver reports at least one device.
bool cuda_available();

}  // namespace leapverify::kernels

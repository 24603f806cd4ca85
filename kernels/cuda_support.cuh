// What the .cu files share: error checks, the choice of device, and sums over a block.
#pragma once

#include <leapverify/kernels/device.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>

#include <cuda_runtime.h>

/// Throws DeviceError when a CUDA runtime call fails.
#define LV_CUDA_CHECK(call)                                                         \
  do {                                                                              \
    const cudaError_t lv_cuda_status = (call);                                      \
    if (lv_cuda_status != cudaSuccess) {                                            \
      ::leapverify::detail::throw_device_error(#call, __FILE__, __LINE__,           \
                                               cudaGetErrorName(lv_cuda_status),    \
                                               cudaGetErrorString(lv_cuda_status)); \
    }                                                                               \
  } while (false)

namespace leapverify::kernels {

/// Makes a device current for the life of the guard.
class DeviceGuard {
 public:
  explicit DeviceGuard(Device device) : wanted_(device.ordinal) {
    LV_CUDA_CHECK(cudaGetDevice(&previous_));
    if (previous_ != wanted_) {
      LV_CUDA_CHECK(cudaSetDevice(wanted_));
    }
  }
  ~DeviceGuard() {
    if (previous_ != wanted_) {
      (void)cudaSetDevice(previous_);
    }
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int wanted_;
  int previous_ = 0;
};

/// The sum of `value` over the threads of a block of kBlockThreads, added up in a fixed order.
/// Every thread of the block must call it, and every one receives the sum.
template <typename Value>
__device__ Value block_sum(Value value) {
  __shared__ Value values[kBlockThreads];
  const int thread = static_cast<int>(threadIdx.x);
  values[thread] = value;
  for (int half = kBlockThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) {
      values[thread] += values[thread + half];
    }
  }
  __syncthreads();
  const Value sum = values[0];
  __syncthreads();  // the next call may overwrite values
  return sum;
}

/// atomicAdd knows unsigned long long only, which std::uint64_t need not be.
__device__ inline void atomic_add(std::uint64_t* address, std::uint64_t value) {
  static_assert(sizeof(unsigned long long) == sizeof(std::uint64_t));
  atomicAdd(reinterpret_cast<unsigned long long*>(address), static_cast<unsigned long long>(value));
}

}  // namespace leapverify::kernels

#include <ATen/Parallel.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <string>

#include "machine.h"

#include <unistd.h>
#ifdef LEAPVERIFY_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime.h>
#endif

namespace leapverify::bench {
namespace {

#ifdef LEAPVERIFY_CUDA
/// Milliseconds between two points of the current stream.
class GpuTimer {
 public:
  GpuTimer() : stream_(c10::cuda::getCurrentCUDAStream().stream()) {
    check(cudaEventCreate(&begin_));
    check(cudaEventCreate(&end_));
  }
  ~GpuTimer() {
    (void)cudaEventDestroy(begin_);
    (void)cudaEventDestroy(end_);
  }
  GpuTimer(const GpuTimer&) = delete;
  GpuTimer& operator=(const GpuTimer&) = delete;

  double milliseconds(const std::function<void()>& work) const {
    check(cudaEventRecord(begin_, stream_));
    work();
    check(cudaEventRecord(end_, stream_));
    check(cudaEventSynchronize(end_));
    float elapsed = 0;
    check(cudaEventElapsedTime(&elapsed, begin_, end_));
    return elapsed;
  }

 private:
  static void check(cudaError_t status) {
    TORCH_CHECK(status == cudaSuccess, cudaGetErrorString(status));
  }

  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};
#endif

std::int64_t cache_bytes(torch::Device device) {
#ifdef LEAPVERIFY_CUDA
  if (device.is_cuda()) {
    int bytes = 0;
    TORCH_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, 0) == cudaSuccess);
    return bytes;
  }
#endif
  static_cast<void>(device);
  return std::max<std::int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE), std::int64_t{32} << 20);
}

}  // namespace

Machine::Machine(torch::Device device)
    : device_(device),
      flush_(torch::zeros({cache_bytes(device) / 2}, torch::TensorOptions().device(device))) {}

// Twice their size is read, not written: dirty lines would be written back during what is timed.
void Machine::flush_caches() const { flush_.sum(); }

double Machine::seconds(const std::function<void()>& work) const {
  flush_caches();
#ifdef LEAPVERIFY_CUDA
  if (device_.is_cuda()) {
    return 1e-3 * GpuTimer().milliseconds(work);
  }
#endif
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void Machine::copy(const torch::Tensor& destination, const torch::Tensor& source) const {
  if (device_.is_cuda()) {
    destination.copy_(source);
    return;
  }
  const auto bytes = static_cast<std::int64_t>(source.nbytes());
  auto* to = static_cast<char*>(destination.data_ptr());
  const auto* from = static_cast<const char*>(source.data_ptr());
  const std::int64_t grain = bytes / at::get_num_threads() + 1;
  at::parallel_for(0, bytes, grain, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin));
  });
}

std::int64_t Machine::free_bytes() const {
#ifdef LEAPVERIFY_CUDA
  if (device_.is_cuda()) {
    c10::cuda::CUDACachingAllocator::emptyCache();
    std::size_t free = 0;
    std::size_t total = 0;
    TORCH_CHECK(cudaMemGetInfo(&free, &total) == cudaSuccess);
    return static_cast<std::int64_t>(free);
  }
#endif
  std::ifstream file("/proc/meminfo");
  std::string word;
  std::int64_t kilobytes = 0;
  while (file >> word) {
    if (word == "MemAvailable:" && file >> kilobytes) return 1024 * kilobytes;
  }
  return 0;
}

}  // namespace leapverify::bench

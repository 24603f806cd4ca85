// adam_direction on CUDA: one launch, a block per chunk.
#include <leapverify/kernels/adam_direction_thread.h>
#include <leapverify/kernels/cuda_support.cuh>

namespace leapverify::kernels {
namespace {

// Three inputs in flight take more registers than one: two blocks to a multiprocessor, no spilling.
__global__ void __launch_bounds__(kBlockThreads, 2)
    adam_direction_kernel(const __grid_constant__ AdamParameters parameters) {
  const int thread = static_cast<int>(threadIdx.x);
  std::uint64_t non_finite = 0;
  for (std::int64_t c = blockIdx.x; c < parameters.destination.chunk_count; c += gridDim.x) {
    non_finite += adam_thread(parameters, c, thread, kBlockThreads);
  }
  if (parameters.non_finite != nullptr) {
    const std::uint64_t sum = block_sum(non_finite);
    if (thread == 0 && sum != 0) {
      atomic_add(parameters.non_finite, sum);
    }
  }
}

}  // namespace

void adam_direction_cuda(const SegmentTable& destination, const SegmentTable& weights,
                         const SegmentTable& exp_avg, const SegmentTable* exp_avg_sq,
                         const AdamRows& rows, std::uint64_t* non_finite, Stream stream) {
  const AdamParameters parameters =
      adam_parameters(destination, weights, exp_avg, exp_avg_sq, rows, non_finite);
  const std::int64_t chunks = parameters.destination.chunk_count;
  if (chunks == 0) {
    return;
  }
  const DeviceGuard guard(destination.device());
  adam_direction_kernel<<<static_cast<unsigned>(block_count(chunks)), kBlockThreads, 0, stream>>>(
      parameters);
  LV_CUDA_CHECK(cudaGetLastError());
}

}  // namespace leapverify::kernels

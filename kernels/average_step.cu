// average_step and place_between on CUDA: one launch, a block per chunk.
#include <leapverify/kernels/average_step_thread.h>
#include <leapverify/kernels/cuda_support.cuh>

namespace leapverify::kernels {
namespace {

// Three inputs in flight, as in adam_direction.
template <bool TakesIn>
__global__ void __launch_bounds__(kBlockThreads, 2)
    average_kernel(const __grid_constant__ AverageParameters parameters) {
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t c = blockIdx.x; c < parameters.weights.chunk_count; c += gridDim.x) {
    average_thread<TakesIn>(parameters, c, thread, kBlockThreads);
  }
}

}  // namespace

void average_step_cuda(const SegmentTable& weights, const SegmentTable& iterate,
                       const SegmentTable& average, const AverageStep& step, bool takes_in,
                       Stream stream) {
  const AverageParameters parameters = average_parameters(weights, iterate, average, step);
  const std::int64_t chunks = parameters.weights.chunk_count;
  if (chunks == 0) {
    return;
  }
  const DeviceGuard guard(weights.device());
  const auto blocks = static_cast<unsigned>(block_count(chunks));
  if (takes_in) {
    average_kernel<true><<<blocks, kBlockThreads, 0, stream>>>(parameters);
  } else {
    average_kernel<false><<<blocks, kBlockThreads, 0, stream>>>(parameters);
  }
  LV_CUDA_CHECK(cudaGetLastError());
}

}  // namespace leapverify::kernels

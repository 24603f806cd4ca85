// sample on CUDA: one launch, a block per chunk of the samples.
#include <leapverify/kernels/sample_thread.h>
#include <leapverify/kernels/cuda_support.cuh>

namespace leapverify::kernels {
namespace {

__global__ void __launch_bounds__(kBlockThreads)
    sample_kernel(const __grid_constant__ SampleParameters parameters) {
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t c = blockIdx.x; c < parameters.samples.chunk_count; c += gridDim.x) {
    sample_thread(parameters, c, thread, kBlockThreads);
  }
}

}  // namespace

void sample_cuda(const SegmentTable& samples, const SegmentTable& source, const SampleStep& step,
                 Stream stream) {
  const SampleParameters parameters = sample_parameters(samples, source, step);
  const std::int64_t chunks = parameters.samples.chunk_count;
  if (chunks == 0) {
    return;
  }
  const DeviceGuard guard(samples.device());
  sample_kernel<<<static_cast<unsigned>(block_count(chunks)), kBlockThreads, 0, stream>>>(
      parameters);
  LV_CUDA_CHECK(cudaGetLastError());
}

}  // namespace leapverify::kernels

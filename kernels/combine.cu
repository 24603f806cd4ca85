// combine on CUDA: one launch, a block per chunk.
#include <leapverify/kernels/combine_thread.h>
#include <leapverify/kernels/cuda_support.cuh>

namespace leapverify::kernels {
namespace {

__global__ void __launch_bounds__(kBlockThreads, 4)
    combine_kernel(const __grid_constant__ CombineParameters parameters) {
  __shared__ CombineChunk chunk;
  const int thread = static_cast<int>(threadIdx.x);
  std::uint64_t non_finite = 0;
  for (std::int64_t c = blockIdx.x; c < parameters.destination.chunk_count; c += gridDim.x) {
    __syncthreads();  // every thread is done with the previous chunk
    load_combine_chunk(parameters, c, thread, chunk);
    __syncthreads();
    non_finite += combine_thread(chunk, thread, kBlockThreads);
  }
  if (parameters.non_finite != nullptr) {
    const std::uint64_t sum = block_sum(non_finite);
    if (thread == 0 && sum != 0) {
      atomic_add(parameters.non_finite, sum);
    }
  }
}

}  // namespace

void combine_cuda(const SegmentTable& destination, const std::vector<const SegmentTable*>& sources,
                  const Coefficients& coefficients, std::uint64_t* non_finite, Stream stream) {
  const CombineParameters parameters =
      combine_parameters(destination, sources, coefficients, non_finite);
  const std::int64_t chunks = parameters.destination.chunk_count;
  if (chunks == 0) {
    return;
  }
  const DeviceGuard guard(destination.device());
  combine_kernel<<<static_cast<unsigned>(block_count(chunks)), kBlockThreads, 0, stream>>>(
      parameters);
  LV_CUDA_CHECK(cudaGetLastError());
}

}  // namespace leapverify::kernels

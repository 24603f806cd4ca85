// combine on CUDA: one launch for up to kMaxTile destinations, a block per chunk.
#include <leapverify/kernels/combine_thread.h>
#include <leapverify/kernels/cuda_support.cuh>

namespace leapverify::kernels {
namespace {

template <int Tile>
__global__ void __launch_bounds__(kBlockThreads, kBlocksPerProcessor)
    combine_kernel(const __grid_constant__ CombineParameters parameters) {
  __shared__ CombineChunk chunk;
  const int thread = static_cast<int>(threadIdx.x);
  std::uint64_t non_finite[Tile] = {};
  for (std::int64_t c = blockIdx.x; c < parameters.first.chunk_count; c += gridDim.x) {
    __syncthreads();  // every thread is done with the previous chunk
    load_combine_chunk(parameters, c, thread, chunk);
    __syncthreads();
    combine_thread(chunk, thread, kBlockThreads, non_finite);
  }
  if (parameters.non_finite != nullptr) {
    LV_UNROLL
    for (int d = 0; d < Tile; ++d) {
      const std::uint64_t sum = block_sum(non_finite[d]);
      if (thread == 0 && sum != 0) {
        atomic_add(parameters.non_finite + d, sum);
      }
    }
  }
}

}  // namespace

void combine_cuda(const std::vector<const SegmentTable*>& destinations,
                  const std::vector<const SegmentTable*>& sources, const Coefficients& coefficients,
                  std::uint64_t* non_finite, Stream stream) {
  const std::int64_t chunks = destinations.front()->chunk_count();
  if (chunks == 0) {
    return;
  }
  const auto blocks = static_cast<unsigned>(block_count(chunks));
  const DeviceGuard guard(destinations.front()->device());
  for (std::size_t begin = 0; begin < destinations.size(); begin += kMaxTile) {
    const CombineParameters parameters =
        combine_parameters(destinations, begin, sources, coefficients, non_finite);
    if (parameters.destination_count == 1) {
      combine_kernel<1><<<blocks, kBlockThreads, 0, stream>>>(parameters);
    } else {
      combine_kernel<kMaxTile><<<blocks, kBlockThreads, 0, stream>>>(parameters);
    }
    LV_CUDA_CHECK(cudaGetLastError());
  }
}

}  // namespace leapverify::kernels

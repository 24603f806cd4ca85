// gram on CUDA: one launch for the partial sums of each chunk, one that adds them up by segment.
#include <leapverify/kernels/gram_thread.h>
#include <leapverify/kernels/cuda_support.cuh>

namespace leapverify::kernels {
namespace {

__global__ void __launch_bounds__(kBlockThreads)
    gram_partials_kernel(const __grid_constant__ GramParameters parameters) {
  __shared__ GramChunk chunk;
  __shared__ double shared[kSharedDoubles];
  const int thread = static_cast<int>(threadIdx.x);
  const GramLayout layout = GramLayout::of(parameters.source_count, kBlockThreads);
  for (std::int64_t c = blockIdx.x; c < parameters.first.chunk_count; c += gridDim.x) {
    __syncthreads();  // every thread is done with the previous chunk
    load_gram_chunk(parameters, c, thread, chunk);
    __syncthreads();
    double products[kTilePairs] = {};
    for (int begin = 0; begin < chunk.length; begin += layout.slab_elements) {
      stage_slab(chunk, layout, begin, thread, kBlockThreads, shared);
      __syncthreads();
      multiply_slab(layout, thread, shared, products);
      __syncthreads();
    }
    store_products(layout, thread, products, shared);
    for (int active = layout.slices; active > 1;) {
      __syncthreads();
      active = fold_slices(layout, active, thread, kBlockThreads, shared);
    }
    __syncthreads();
    store_partials(parameters, layout, c, thread, kBlockThreads, shared);
  }
}

/// A block adds up one pair of one segment.
__global__ void __launch_bounds__(kBlockThreads)
    gram_sums_kernel(const __grid_constant__ GramParameters parameters) {
  const int thread = static_cast<int>(threadIdx.x);
  const int pairs = pair_count(parameters.source_count);
  const std::int64_t tasks = parameters.first.segment_count * pairs;
  for (std::int64_t task = blockIdx.x; task < tasks; task += gridDim.x) {
    const std::int64_t segment = task / pairs;
    const int pair = static_cast<int>(task % pairs);
    const double sum = block_sum(sum_partials(parameters, segment, pair, thread, kBlockThreads));
    if (thread == 0) {
      store_gram(parameters.gram, segment, pair_at(pair, parameters.source_count),
                 parameters.source_count, sum);
    }
  }
}

}  // namespace

void gram_cuda(const std::vector<const SegmentTable*>& sources, const SegmentTable* reference,
               double* gram, double* workspace, Stream stream) {
  const GramParameters parameters = gram_parameters(sources, reference, gram, workspace);
  const std::int64_t chunks = parameters.first.chunk_count;
  const std::int64_t tasks = parameters.first.segment_count * pair_count(parameters.source_count);
  const DeviceGuard guard(sources.front()->device());
  if (chunks > 0) {
    gram_partials_kernel<<<static_cast<unsigned>(block_count(chunks)), kBlockThreads, 0, stream>>>(
        parameters);
    LV_CUDA_CHECK(cudaGetLastError());
  }
  if (tasks > 0) {
    gram_sums_kernel<<<static_cast<unsigned>(block_count(tasks)), kBlockThreads, 0, stream>>>(
        parameters);
    LV_CUDA_CHECK(cudaGetLastError());
  }
}

}  // namespace leapverify::kernels

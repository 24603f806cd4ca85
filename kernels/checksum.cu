// checksum on CUDA: one launch, a block per chunk. A table without elements still takes one block,
// which adds the term of the shape.
#include <leapverify/kernels/checksum_thread.h>
#include <leapverify/kernels/cuda_support.cuh>

#include <algorithm>

namespace leapverify::kernels {
namespace {

__global__ void __launch_bounds__(kBlockThreads)
    checksum_kernel(const __grid_constant__ SegmentView table, std::uint64_t shape_term,
                    std::uint64_t* digest) {
  const int thread = static_cast<int>(threadIdx.x);
  std::uint64_t share = blockIdx.x == 0 && thread == 0 ? shape_term : 0;
  for (std::int64_t c = blockIdx.x; c < table.chunk_count; c += gridDim.x) {
    share += checksum_thread(table, c, thread, kBlockThreads);
  }
  const std::uint64_t sum = block_sum(share);
  if (thread == 0) {
    atomic_add(digest, sum);
  }
}

}  // namespace

void checksum_cuda(const SegmentTable& table, std::uint64_t shape_term, std::uint64_t* digest,
                   Stream stream) {
  const SegmentView view = table.view();
  const DeviceGuard guard(table.device());
  const auto blocks =
      static_cast<unsigned>(std::max<std::int64_t>(1, block_count(view.chunk_count)));
  checksum_kernel<<<blocks, kBlockThreads, 0, stream>>>(view, shape_term, digest);
  LV_CUDA_CHECK(cudaGetLastError());
}

}  // namespace leapverify::kernels

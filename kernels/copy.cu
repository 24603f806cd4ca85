// copy on CUDA: one launch, a block per chunk.
#include <leapverify/kernels/copy_thread.h>
#include <leapverify/kernels/cuda_support.cuh>

namespace leapverify::kernels {
namespace {

__global__ void __launch_bounds__(kBlockThreads)
    copy_kernel(const __grid_constant__ SegmentView destination, const Segment* sources) {
  for (std::int64_t c = blockIdx.x; c < destination.chunk_count; c += gridDim.x) {
    copy_thread(destination, sources, c, static_cast<int>(threadIdx.x), kBlockThreads);
  }
}

}  // namespace

void copy_cuda(const SegmentTable& destination, const SegmentTable& source, Stream stream) {
  const SegmentView view = destination.view();
  const SegmentView source_view = source.view();
  if (view.chunk_count == 0) {
    return;
  }
  const DeviceGuard guard(destination.device());
  copy_kernel<<<static_cast<unsigned>(block_count(view.chunk_count)), kBlockThreads, 0, stream>>>(
      view, source_view.segments);
  LV_CUDA_CHECK(cudaGetLastError());
}

}  // namespace leapverify::kernels

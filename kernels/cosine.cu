// cosine on CUDA: one launch, a block per row.
#include <leapverify/kernels/cosine_thread.h>
#include <leapverify/kernels/cuda_support.cuh>

namespace leapverify::kernels {
namespace {

__global__ void __launch_bounds__(kBlockThreads)
    cosine_kernel(const __grid_constant__ MatrixView a, const __grid_constant__ MatrixView b,
                  double* cosines) {
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t row = blockIdx.x; row < a.rows; row += gridDim.x) {
    const CosineSums share = cosine_thread(a, b, row, thread, kBlockThreads);
    const CosineSums sums = {block_sum(share.ab), block_sum(share.aa), block_sum(share.bb)};
    if (thread == 0) {
      cosines[row] = cosine_of(sums);
    }
  }
}

}  // namespace

void cosine_cuda(const MatrixView& a, const MatrixView& b, double* cosines, Device device,
                 Stream stream) {
  if (a.rows == 0) {
    return;
  }
  const DeviceGuard guard(device);
  cosine_kernel<<<static_cast<unsigned>(block_count(a.rows)), kBlockThreads, 0, stream>>>(a, b,
                                                                                          cosines);
  LV_CUDA_CHECK(cudaGetLastError());
}

}  // namespace leapverify::kernels

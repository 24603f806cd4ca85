// Argument checks of cosine, and its CPU version.
#include <leapverify/kernels/cosine.h>
#include <leapverify/kernels/cosine_thread.h>
#include <leapverify/kernels/cpu_blocks.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/parallel.h>
#include <leapverify/kernels/wide_vectors.h>

#include <algorithm>

namespace leapverify::kernels {
namespace {

constexpr std::int64_t kBlockElements = 1024;

CosineSums sums_of_row(const MatrixView& a, const MatrixView& b, std::int64_t row) {
  CosineSums sums = {0.0, 0.0, 0.0};
  with_wide_vectors([&] {
    alignas(64) double x[kBlockElements];
    alignas(64) double y[kBlockElements];
    for (std::int64_t column = 0; column < a.columns; column += kBlockElements) {
      const std::int64_t count = std::min(kBlockElements, a.columns - column);
      widen_block({a.data, a.dtype}, row * a.columns + column, count, x);
      widen_block({b.data, b.dtype}, row * b.columns + column, count, y);
      sums.ab += dot_block(x, y, count);
      sums.aa += dot_block(x, x, count);
      sums.bb += dot_block(y, y, count);
    }
  });
  return sums;
}

void check_matrix(const MatrixView& matrix, const char* name) {
  LV_CHECK(matrix.rows >= 0 && matrix.columns >= 0,
           name << " is [" << matrix.rows << " × " << matrix.columns << "], expected 0 or more");
  LV_CHECK(matrix.dtype != DType::kBytes && size_of(matrix.dtype) > 0,
           name << " has dtype " << name_of(matrix.dtype) << ", expected a floating dtype");
  LV_CHECK(matrix.data != nullptr || matrix.rows == 0 || matrix.columns == 0,
           name << " of [" << matrix.rows << " × " << matrix.columns << "] has a null pointer");
  LV_CHECK(reinterpret_cast<std::uintptr_t>(matrix.data) %
                   static_cast<std::uintptr_t>(size_of(matrix.dtype)) ==
               0,
           name << " at " << matrix.data << " is not aligned to the " << size_of(matrix.dtype)
                << " bytes of " << name_of(matrix.dtype));
}

}  // namespace

void cosine(const MatrixView& a, const MatrixView& b, double* cosines, Device device,
            Stream stream) {
  check_matrix(a, "a");
  check_matrix(b, "b");
  LV_CHECK(a.rows == b.rows && a.columns == b.columns, "b is [" << b.rows << " × " << b.columns
                                                                << "], a is [" << a.rows << " × "
                                                                << a.columns << "]");
  LV_CHECK(cosines != nullptr || a.rows == 0, "cosines of " << a.rows << " rows are null");
  if (device.kind == DeviceKind::kCuda) {
    cosine_cuda(a, b, cosines, device, stream);
    return;
  }
  parallel_sum(a.rows, a.rows * a.columns, [&](std::int64_t row) -> std::uint64_t {
    cosines[row] = cosine_of(sums_of_row(a, b, row));
    return 0;
  });
}

}  // namespace leapverify::kernels

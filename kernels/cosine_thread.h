// What one thread of the cosine kernel does, and the last step that all versions share.
// Host-device, so that the CPU tests can run a launch thread by thread.
#pragma once

#include <leapverify/kernels/cosine.h>
#include <leapverify/kernels/host_device.h>
#include <leapverify/kernels/number_formats.h>

#include <cmath>

namespace leapverify::kernels {

struct CosineSums {
  double ab;
  double aa;
  double bb;
};

/// Rounding may carry the quotient past ±1, so it is clamped. NaN passes through.
LV_HOST_DEVICE inline double cosine_of(const CosineSums& sums) {
  if ((sums.aa == 0.0 || sums.bb == 0.0) && sums.ab == 0.0) {
    return 0.0;
  }
  const double cosine = sums.ab / (std::sqrt(sums.aa) * std::sqrt(sums.bb));
  if (cosine > 1.0) {
    return 1.0;
  }
  return cosine < -1.0 ? -1.0 : cosine;
}

LV_HOST_DEVICE inline double element_of(const MatrixView& matrix, std::int64_t index) {
  switch (matrix.dtype) {
    case DType::kFloat32:
      return widen<double>(static_cast<const float*>(matrix.data)[index]);
    case DType::kBFloat16:
      return widen<double>(static_cast<const BFloat16*>(matrix.data)[index]);
    case DType::kFloat16:
      return widen<double>(static_cast<const Float16*>(matrix.data)[index]);
    case DType::kFloat64:
      return static_cast<const double*>(matrix.data)[index];
    case DType::kBytes:
      break;
  }
  return 0.0;
}

/// The share of one of `threads` threads in the sums of a row.
LV_HOST_DEVICE inline CosineSums cosine_thread(const MatrixView& a, const MatrixView& b,
                                               std::int64_t row, int thread, int threads) {
  CosineSums sums = {0.0, 0.0, 0.0};
  for (std::int64_t column = thread; column < a.columns; column += threads) {
    const double x = element_of(a, row * a.columns + column);
    const double y = element_of(b, row * b.columns + column);
    sums.ab += x * y;
    sums.aa += x * x;
    sums.bb += y * y;
  }
  return sums;
}

}  // namespace leapverify::kernels

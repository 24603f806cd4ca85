// Row-wise cosine of two activation matrices: how far the network's answers to fixed probes have
// turned.
#pragma once

#include <leapverify/kernels/device.h>
#include <leapverify/kernels/dtype.h>

#include <cstdint>

namespace leapverify::kernels {

/// A dense row-major matrix [rows × columns] of a floating dtype in the memory of one device.
struct MatrixView {
  const void* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  DType dtype = DType::kFloat32;
};

/// cosines[r] ← ⟨a_r, b_r⟩ / (‖a_r‖ · ‖b_r‖), clamped to [−1, 1], sums in float64; 0 where either
/// row is all zeros; NaN where a value is NaN or infinite.
///
/// Shapes: a and b of the same shape, dtypes float32, bfloat16, float16 or float64, possibly
/// different; cosines [rows] in the memory of `device`. No rows: nothing happens. No columns: every
/// cosine is 0. Squares of float64 values are expected to stay within the range of float64.
///
/// Stream: runs in `stream`, does not synchronise, may be captured into a CUDA graph. Allocates
/// nothing.
///
/// Determinism: fixed order of reduction on each device: run-to-run bitwise equal, for any number of
/// threads and blocks. CPU and CUDA differ by rounding only.
///
/// Errors: ContractError on mismatched shapes or dtypes; DeviceError on a failed launch.
void cosine(const MatrixView& a, const MatrixView& b, double* cosines, Device device,
            Stream stream = nullptr);

}  // namespace leapverify::kernels

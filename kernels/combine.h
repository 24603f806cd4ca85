// Weighted sums over many tensors in one launch: predictors, averages and candidates are all this.
#pragma once

#include <leapverify/kernels/segment_table.h>

#include <cstdint>
#include <vector>

namespace leapverify::kernels {

inline constexpr int kMaxSources = 32;

/// Coefficients of a combination, in the memory of the tables' device.
struct Coefficients {
  /// [rows × sources], row-major.
  const double* values = nullptr;
  std::int64_t rows = 1;
  /// [segments]: the row of each segment, every entry in [0, rows); null means row 0 for all.
  const std::int32_t* row_of_segment = nullptr;
};

/// destination_i ← Σ_k c[row(i)][k] · source_k,i, added up in the order of the sources.
///
/// Shapes: `destination` and every source hold segments of the same lengths in the same order; 1 to
/// kMaxSources sources; dtypes float32, bfloat16, float16 and float64 in any mix.
///
/// Values: the sum starts at +0 and takes each source by one fused multiply-add, in float64 where
/// the destination or any source of that segment is float64 and in float32 otherwise, with the
/// coefficient rounded to that type; it is rounded once to the destination (to nearest, ties to
/// even). A source whose rounded coefficient is zero is never read, so NaN in it does not matter.
/// A NaN result is always the same quiet NaN; −0 never results from a sum of zeros.
///
/// Counter: `non_finite`, when not null, is increased by the number of NaN or infinite results; it
/// lies in the device's memory and the caller sets it to zero.
///
/// Aliasing: a source may be the destination itself (same pointers and dtype); partial overlap is
/// undefined.
///
/// Stream: runs in `stream`, does not synchronise. Allocates nothing in the device's memory.
///
/// Determinism: bitwise the same on every run, and on CPU and CUDA.
///
/// Errors: ContractError on mismatched shapes, devices, dtypes or counts, and on the CPU on a row
/// outside [0, rows); DeviceError on a failed launch.
void combine(const SegmentTable& destination, const std::vector<const SegmentTable*>& sources,
             const Coefficients& coefficients, std::uint64_t* non_finite = nullptr,
             Stream stream = nullptr);

}  // namespace leapverify::kernels

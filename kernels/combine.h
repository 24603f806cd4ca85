// Weighted sums over many tensors in one launch: predictors, averages and candidates are all this.
#pragma once

#include <leapverify/kernels/segment_table.h>

#include <cstdint>
#include <vector>

namespace leapverify::kernels {

inline constexpr int kMaxSources = 32;
inline constexpr int kMaxDestinations = 32;

/// Coefficients of a combination, in the memory of the tables' device.
struct Coefficients {
  /// [rows × destinations × sources], row-major.
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
/// Stream: runs in `stream`, does not synchronise, may be captured into a CUDA graph. Allocates
/// nothing in the device's memory.
///
/// Determinism: bitwise the same on every run, on CPU and CUDA, for any number of threads.
///
/// Errors: ContractError on mismatched shapes, devices, dtypes or counts, and on the CPU on a row
/// outside [0, rows); DeviceError on a failed launch.
void combine(const SegmentTable& destination, const std::vector<const SegmentTable*>& sources,
             const Coefficients& coefficients, std::uint64_t* non_finite = nullptr,
             Stream stream = nullptr);

/// The same for several destinations, each with coefficients of its own:
/// destination_d,i ← Σ_k c[row(i)][d][k] · source_k,i. Four destinations at a time share one pass
/// over the sources, which is what it is for.
///
/// Shapes: 1 to kMaxDestinations destinations, with the same dtypes segment by segment;
/// `non_finite` [destinations].
///
/// Values, stream, determinism and errors are those of combine() for each destination alone, with
/// one exception: a source is read where any of the four uses it (its NaN still reaches only those
/// that do).
///
/// Aliasing: with more than one destination, no source may be a destination; ContractError where
/// they start at the same address.
void combine(const std::vector<const SegmentTable*>& destinations,
             const std::vector<const SegmentTable*>& sources, const Coefficients& coefficients,
             std::uint64_t* non_finite = nullptr, Stream stream = nullptr);

}  // namespace leapverify::kernels

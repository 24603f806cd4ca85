// All pairwise inner products of a few snapshots: norms, angles and clamps follow from them on the
// host.
#pragma once

#include <leapverify/kernels/segment_table.h>

#include <cstdint>
#include <vector>

namespace leapverify::kernels {

/// Number of doubles of scratch memory that gram() needs for this table and number of sources.
std::int64_t gram_workspace(const SegmentTable& table, int source_count);

/// gram[s][j][k] ← ⟨x_j,s − r_s, x_k,s − r_s⟩ for every segment s, x being the sources and r the
/// reference.
///
/// Subtracting a reference (the newest snapshot) before multiplying avoids the cancellation that
/// ⟨x, x⟩ − ⟨x, r⟩ … would suffer when snapshots differ by little. A null reference stands for
/// zero.
///
/// Shapes: sources and reference of the same lengths; 1 to 32 sources; floating dtypes in any mix;
/// `gram` [segments × sources × sources] and `workspace` (gram_workspace doubles) in the device's
/// memory.
///
/// Values: differences and sums in float64. The matrix is exactly symmetric; an empty segment gives
/// zeros.
///
/// Stream: runs in `stream`, does not synchronise, may be captured into a CUDA graph. Allocates
/// nothing in the device's memory.
///
/// Determinism: partial sums by chunk, added up in a fixed order: run-to-run bitwise equal, for any
/// number of threads and blocks. CPU and CUDA differ by rounding only.
///
/// Errors: ContractError on mismatched shapes or devices; DeviceError on a failed launch.
void gram(const std::vector<const SegmentTable*>& sources, const SegmentTable* reference,
          double* gram, double* workspace, Stream stream = nullptr);

}  // namespace leapverify::kernels

// Byte copies over many tensors in one launch: taking a snapshot for rollback, and rolling back.
#pragma once

#include <leapverify/kernels/segment_table.h>

namespace leapverify::kernels {

/// destination_i ← source_i, byte for byte (signed zeros and NaN payloads included).
///
/// Shapes: segments of the same lengths and dtypes in the same order; any dtype; no overlap.
///
/// Stream: runs in `stream`, does not synchronise, may be captured into a CUDA graph. Allocates
/// nothing.
///
/// Determinism: exact.
///
/// Errors: ContractError on mismatched shapes, dtypes or devices; DeviceError on a failed launch.
void copy(const SegmentTable& destination, const SegmentTable& source, Stream stream = nullptr);

}  // namespace leapverify::kernels

// An optimizer's step taken in by its iterate and their average, in one pass over the memory.
#pragma once

#include <leapverify/kernels/segment_table.h>

namespace leapverify::kernels {

/// All within [0, 1].
struct AverageStep {
  double last_pull = 0;  ///< with which the weights were placed before the optimizer's step
  double share = 0;      ///< of the new iterate in the average
  double pull = 0;       ///< with which the weights are placed for the next one
};

/// Averaging in place of a learning rate that falls (Schedule-Free: Defazio et al., The Road Less
/// Scheduled, arXiv 2405.15682). Of each element, with the weight w as the optimizer left it, the
/// iterate z and the average x:
///
///     y = between(z, x, last_pull), z ← z + (w − y) where w ≠ y, x ← between(x, z, share),
///     w ← between(z, x, pull), with between(a, b, s) = a + s · (b − a); a and b for s of 0 and 1.
///
/// So a weight that the optimizer left where place_between() had put it leaves z as it is, bitwise.
///
/// Shapes: all tables hold segments of the same lengths in the same order; dtypes float32, bfloat16,
/// float16 and float64 in any mix.
///
/// Values: computed in float64 where any table's segment is float64 and in float32 otherwise, with
/// the scalars rounded to that type; a + s · (b − a) = fma(s, b − a, a). y is rounded to the dtype of
/// the weights, z and x to their own before they are used further. A NaN result is always the same
/// quiet NaN.
///
/// Aliasing: none; overlap is undefined.
///
/// Stream: runs in `stream`, does not synchronise, may be captured into a CUDA graph. Allocates
/// nothing.
///
/// Determinism: bitwise the same on every run, on CPU and CUDA, for any number of threads.
///
/// Errors: ContractError on mismatched shapes, devices or dtypes and on scalars outside of their
/// range; DeviceError on a failed launch.
void average_step(const SegmentTable& weights, const SegmentTable& iterate,
                  const SegmentTable& average, const AverageStep& step, Stream stream = nullptr);

/// w ← between(z, x, pull): what average_step() with that pull left there, bitwise. Otherwise as there,
/// but that iterate and average, which are only read, may be the same table.
void place_between(const SegmentTable& weights, const SegmentTable& iterate,
                   const SegmentTable& average, double pull, Stream stream = nullptr);

}  // namespace leapverify::kernels

// Evenly spaced elements of many tensors, gathered or averaged in one launch.
#pragma once

#include <leapverify/kernels/segment_table.h>

#include <cstdint>

namespace leapverify::kernels {

struct SampleStep {
  std::int64_t spacing = 1;  ///< from one element of the source to the next that is taken
  double keep = 0;           ///< factor on what the samples were; 0: that is not read
  double share = 1;          ///< factor on the elements taken
};

/// samples_i ← keep · samples_i + share · source_(i · spacing), segment by segment: a copy of every so
/// many elements, or with keep + share = 1 their running average.
///
/// Shapes: as many segments; each of the samples has ⌈n ÷ spacing⌉ elements where that of the source
/// has n. Dtypes float32, bfloat16, float16 and float64 in any mix.
///
/// Values: computed in float64 where either segment is float64 and in float32 otherwise, with keep and
/// share rounded to that type: fma(share, source, keep · samples). With a spacing of 1 they are those
/// of combine() of samples and source, bitwise. A NaN result is always the same quiet NaN.
///
/// Aliasing: none; overlap is undefined.
///
/// Stream: runs in `stream`, does not synchronise, may be captured into a CUDA graph. Allocates
/// nothing.
///
/// Determinism: bitwise the same on every run, on CPU and CUDA, for any number of threads.
///
/// Errors: ContractError on mismatched shapes, devices or dtypes, on a spacing below 1 and on factors
/// that are not finite; DeviceError on a failed launch.
void sample(const SegmentTable& samples, const SegmentTable& source, const SampleStep& step,
            Stream stream = nullptr);

}  // namespace leapverify::kernels

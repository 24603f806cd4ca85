// What one thread of the sample kernel does, and the formula that all versions share. Host-device, so
// that the CPU tests can run a launch thread by thread.
#pragma once

#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/sample.h>
#include <leapverify/kernels/vector_access.h>

namespace leapverify::kernels {

/// The factors rounded to the type of the sums.
template <typename Sum>
struct SampleFactors {
  Sum keep;
  Sum share;

  LV_HOST_DEVICE explicit SampleFactors(const SampleStep& step)
      : keep(static_cast<Sum>(step.keep)), share(static_cast<Sum>(step.share)) {}

  LV_HOST_DEVICE bool reads_samples() const { return keep != Sum(0); }
};

/// What a sample becomes; `held` counts only where reads_samples().
template <typename Sum>
LV_HOST_DEVICE inline Sum sampled(Sum held, Sum taken, const SampleFactors<Sum>& factors) {
  const Sum kept =
      factors.reads_samples() ? fused_multiply_add(factors.keep, held, Sum(0)) : Sum(0);
  return factors.share == Sum(0) ? kept : fused_multiply_add(factors.share, taken, kept);
}

template <typename Sum>
LV_HOST_DEVICE inline Sum load_element(const TypedPointer& from, std::int64_t index) {
  switch (from.dtype) {
    case DType::kFloat32:
      return widen<Sum>(static_cast<const float*>(from.data)[index]);
    case DType::kBFloat16:
      return widen<Sum>(static_cast<const BFloat16*>(from.data)[index]);
    case DType::kFloat16:
      return widen<Sum>(static_cast<const Float16*>(from.data)[index]);
    case DType::kFloat64:
      return widen<Sum>(static_cast<const double*>(from.data)[index]);
    case DType::kBytes:
      break;
  }
  return Sum(0);
}

struct SampleParameters {
  SegmentView samples;
  const Segment* source;
  SampleStep step;
};

inline SampleParameters sample_parameters(const SegmentTable& samples, const SegmentTable& source,
                                          const SampleStep& step) {
  return {samples.view(), source.view().segments, step};
}

/// `source` is at the element that the first of the samples is of.
template <typename Sum>
LV_HOST_DEVICE inline void sample_thread_in(const TypedPointer& samples, const TypedPointer& source,
                                            int length, const SampleStep& step, int thread,
                                            int threads) {
  const SampleFactors<Sum> factors(step);
  for (int first = thread; 4 * first < length; first += threads) {
    const QuadSet set = {first, threads, length};
    Sum held[1][4] = {};
    if (factors.reads_samples()) {
      load_quads(samples, set, held);
    }
    LV_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int at = 4 * first + i;
      if (at < length) {
        held[0][i] = sampled(held[0][i], load_element<Sum>(source, at * step.spacing), factors);
      }
    }
    store_quads(held, set, const_cast<void*>(samples.data), samples.dtype);
  }
}

/// The share of one of `threads` threads in a chunk of the samples.
LV_HOST_DEVICE inline void sample_thread(const SampleParameters& parameters, std::int64_t index,
                                         int thread, int threads) {
  const Chunk place = parameters.samples.chunks[index];
  const Segment& segment = parameters.samples.segments[place.segment];
  const TypedPointer samples = pointer_into(segment, place.begin);
  const TypedPointer source =
      pointer_into(parameters.source[place.segment], place.begin * parameters.step.spacing);
  const std::int32_t length = chunk_length(segment.length, place.begin);
  if (samples.dtype == DType::kFloat64 || source.dtype == DType::kFloat64) {
    sample_thread_in<double>(samples, source, length, parameters.step, thread, threads);
  } else {
    sample_thread_in<float>(samples, source, length, parameters.step, thread, threads);
  }
}

}  // namespace leapverify::kernels

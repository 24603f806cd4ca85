// What one thread of the average_step kernel does, and the formulas that all versions share.
// Host-device, so that the CPU tests can run a launch thread by thread.
#pragma once

#include <leapverify/kernels/average_step.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/vector_access.h>

namespace leapverify::kernels {

/// a + share · (b − a); a and b themselves for shares of 0 and 1.
template <typename Sum>
LV_HOST_DEVICE inline Sum between(Sum a, Sum b, Sum share) {
  if (share == Sum(0)) {
    return a;
  }
  return share == Sum(1) ? b : fused_multiply_add(share, b - a, a);
}

/// Where an iterate is once its weight went from `placed` to `weight`; one that stayed leaves even the
/// sign of zero.
template <typename Sum>
LV_HOST_DEVICE inline Sum moved(Sum iterate, Sum weight, Sum placed) {
  return weight == placed ? iterate : iterate + (weight - placed);
}

/// The scalars rounded to the type of the sums.
template <typename Sum>
struct AverageScalars {
  Sum last_pull;
  Sum share;
  Sum pull;

  LV_HOST_DEVICE explicit AverageScalars(const AverageStep& step)
      : last_pull(static_cast<Sum>(step.last_pull)),
        share(static_cast<Sum>(step.share)),
        pull(static_cast<Sum>(step.pull)) {}
};

/// What a value is once it was stored as a dtype.
template <typename Sum>
LV_HOST_DEVICE inline Sum as_stored(Sum value, DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return widen<Sum>(narrow<float>(canonical_nan(value)));
    case DType::kBFloat16:
      return widen<Sum>(narrow<BFloat16>(canonical_nan(value)));
    case DType::kFloat16:
      return widen<Sum>(narrow<Float16>(canonical_nan(value)));
    case DType::kFloat64:
    case DType::kBytes:
      break;
  }
  return canonical_nan(value);
}

struct AverageParameters {
  SegmentView weights;
  const Segment* iterate;
  const Segment* average;
  AverageStep step;
};

inline AverageParameters average_parameters(const SegmentTable& weights,
                                            const SegmentTable& iterate,
                                            const SegmentTable& average, const AverageStep& step) {
  return {weights.view(), iterate.view().segments, average.view().segments, step};
}

/// Takes the step in, or, without TakesIn, places the weights only.
template <bool TakesIn, typename Sum>
LV_HOST_DEVICE inline void average_thread_in(const TypedPointer& weights,
                                             const TypedPointer& iterate,
                                             const TypedPointer& average, int length,
                                             const AverageScalars<Sum>& scalars, int thread,
                                             int threads) {
  constexpr int kQuads = 8 / sizeof(Sum);
  for (int first = thread; 4 * first < length; first += kQuads * threads) {
    const QuadSet set = {first, threads, length};
    Sum w[kQuads][4];
    Sum z[kQuads][4];
    Sum x[kQuads][4];
    load_quads(iterate, set, z);
    load_quads(average, set, x);
    if (TakesIn) {
      load_quads(weights, set, w);
    }
    LV_UNROLL
    for (int q = 0; q < kQuads; ++q) {
      LV_UNROLL
      for (int i = 0; i < 4; ++i) {
        if (TakesIn) {
          const Sum y = as_stored(between(z[q][i], x[q][i], scalars.last_pull), weights.dtype);
          z[q][i] = as_stored(moved(z[q][i], w[q][i], y), iterate.dtype);
          x[q][i] = as_stored(between(x[q][i], z[q][i], scalars.share), average.dtype);
        }
        w[q][i] = between(z[q][i], x[q][i], scalars.pull);
      }
    }
    if (TakesIn) {
      store_quads(z, set, const_cast<void*>(iterate.data), iterate.dtype);
      store_quads(x, set, const_cast<void*>(average.data), average.dtype);
    }
    store_quads(w, set, const_cast<void*>(weights.data), weights.dtype);
  }
}

/// The share of one of `threads` threads in a chunk.
template <bool TakesIn>
LV_HOST_DEVICE inline void average_thread(const AverageParameters& parameters, std::int64_t index,
                                          int thread, int threads) {
  const Chunk place = parameters.weights.chunks[index];
  const Segment& segment = parameters.weights.segments[place.segment];
  const TypedPointer weights = pointer_into(segment, place.begin);
  const TypedPointer iterate = pointer_into(parameters.iterate[place.segment], place.begin);
  const TypedPointer average = pointer_into(parameters.average[place.segment], place.begin);
  const std::int32_t length = chunk_length(segment.length, place.begin);
  const bool float64 = weights.dtype == DType::kFloat64 || iterate.dtype == DType::kFloat64 ||
                       average.dtype == DType::kFloat64;
  if (float64) {
    average_thread_in<TakesIn>(weights, iterate, average, length,
                               AverageScalars<double>(parameters.step), thread, threads);
  } else {
    average_thread_in<TakesIn>(weights, iterate, average, length,
                               AverageScalars<float>(parameters.step), thread, threads);
  }
}

}  // namespace leapverify::kernels

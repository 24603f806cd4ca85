// What one thread of the adam_direction kernel does, and the formula that all versions share.
// Host-device, so that the CPU tests can run a launch thread by thread.
#pragma once

#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/vector_access.h>

namespace leapverify::kernels {

/// A row rounded to the type of the sums.
template <typename Sum>
struct AdamScalars {
  Sum keep;
  Sum step;
  Sum root_scale;
  Sum epsilon;

  LV_HOST_DEVICE explicit AdamScalars(const AdamRow& row)
      : keep(static_cast<Sum>(row.keep)),
        step(static_cast<Sum>(row.step)),
        root_scale(static_cast<Sum>(row.root_scale)),
        epsilon(static_cast<Sum>(row.epsilon)) {}

  /// One element along Adam's direction.
  LV_HOST_DEVICE Sum ahead(Sum weight, Sum exp_avg, Sum exp_avg_sq) const {
    const Sum denominator = fused_multiply_add(root_scale, square_root(exp_avg_sq), epsilon);
    return ahead(weight, divide(exp_avg, denominator));
  }
  /// One element along a given direction.
  LV_HOST_DEVICE Sum ahead(Sum weight, Sum direction) const {
    return fused_multiply_add(-step, direction, keep * weight);
  }
};

struct AdamParameters {
  SegmentView destination;
  const Segment* weights;
  const Segment* exp_avg;
  const Segment* exp_avg_sq;  // null: no denominator
  AdamRows rows;
  std::uint64_t* non_finite;
};

inline AdamParameters adam_parameters(const SegmentTable& destination, const SegmentTable& weights,
                                      const SegmentTable& exp_avg, const SegmentTable* exp_avg_sq,
                                      const AdamRows& rows, std::uint64_t* non_finite) {
  return {destination.view(),
          weights.view().segments,
          exp_avg.view().segments,
          exp_avg_sq == nullptr ? nullptr : exp_avg_sq->view().segments,
          rows,
          non_finite};
}

template <typename Sum>
LV_HOST_DEVICE inline std::uint32_t adam_thread_in(const TypedPointer& destination,
                                                   const TypedPointer& weights,
                                                   const TypedPointer& exp_avg,
                                                   const TypedPointer& exp_avg_sq, int length,
                                                   const AdamScalars<Sum>& scalars, int thread,
                                                   int threads) {
  constexpr int kQuads = 8 / sizeof(Sum);
  std::uint32_t non_finite = 0;
  for (int first = thread; 4 * first < length; first += kQuads * threads) {
    const QuadSet set = {first, threads, length};
    Sum theta[kQuads][4];
    Sum m[kQuads][4];
    Sum v[kQuads][4];
    load_quads(weights, set, theta);
    load_quads(exp_avg, set, m);
    if (exp_avg_sq.data != nullptr) {
      load_quads(exp_avg_sq, set, v);
    }
    LV_UNROLL
    for (int q = 0; q < kQuads; ++q) {
      LV_UNROLL
      for (int i = 0; i < 4; ++i) {
        theta[q][i] = exp_avg_sq.data == nullptr ? scalars.ahead(theta[q][i], m[q][i])
                                                 : scalars.ahead(theta[q][i], m[q][i], v[q][i]);
      }
    }
    non_finite += store_quads(theta, set, const_cast<void*>(destination.data), destination.dtype);
  }
  return non_finite;
}

/// The share of one of `threads` threads in a chunk; returns the number of its NaN and infinite
/// results. A thread reads before it writes, so the destination may be an input.
LV_HOST_DEVICE inline std::uint32_t adam_thread(const AdamParameters& parameters,
                                                std::int64_t index, int thread, int threads) {
  const Chunk place = parameters.destination.chunks[index];
  const Segment& segment = parameters.destination.segments[place.segment];
  const TypedPointer destination = pointer_into(segment, place.begin);
  const TypedPointer weights = pointer_into(parameters.weights[place.segment], place.begin);
  const TypedPointer exp_avg = pointer_into(parameters.exp_avg[place.segment], place.begin);
  TypedPointer exp_avg_sq = {nullptr, DType::kFloat32};
  if (parameters.exp_avg_sq != nullptr) {
    exp_avg_sq = pointer_into(parameters.exp_avg_sq[place.segment], place.begin);
  }
  const std::int32_t* rows = parameters.rows.row_of_segment;
  const AdamRow& row = parameters.rows.values[rows == nullptr ? 0 : rows[place.segment]];
  const std::int32_t length = chunk_length(segment.length, place.begin);
  const bool float64 = destination.dtype == DType::kFloat64 || weights.dtype == DType::kFloat64 ||
                       exp_avg.dtype == DType::kFloat64 || exp_avg_sq.dtype == DType::kFloat64;
  return float64 ? adam_thread_in(destination, weights, exp_avg, exp_avg_sq, length,
                                  AdamScalars<double>(row), thread, threads)
                 : adam_thread_in(destination, weights, exp_avg, exp_avg_sq, length,
                                  AdamScalars<float>(row), thread, threads);
}

}  // namespace leapverify::kernels

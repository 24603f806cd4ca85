// Argument checks of adam_direction, its rows, and its CPU version.
#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/adam_direction_thread.h>
#include <leapverify/kernels/cpu_blocks.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/parallel.h>
#include <leapverify/kernels/table_checks.h>
#include <leapverify/kernels/wide_vectors.h>

#include <algorithm>
#include <cmath>

namespace leapverify::kernels {
namespace {

/// The widened blocks of all inputs stay in the L1 cache.
constexpr std::int64_t kBlockElements = 512;

/// The inputs of one chunk; the pointers are those of its first element.
struct ChunkInputs {
  TypedPointer weights;
  TypedPointer exp_avg;
  TypedPointer exp_avg_sq;  // null data: no denominator
};

template <typename Sum>
std::uint64_t adam_chunk(const Destination& destination, const ChunkInputs& inputs,
                         std::int64_t length, const AdamScalars<Sum>& scalars) {
  std::uint64_t non_finite = 0;
  with_wide_vectors([&] {
    alignas(64) Sum theta[kBlockElements];
    alignas(64) Sum m[kBlockElements];
    alignas(64) Sum v[kBlockElements];
    for (std::int64_t begin = 0; begin < length; begin += kBlockElements) {
      const std::int64_t count = std::min(kBlockElements, length - begin);
      widen_block(inputs.weights, begin, count, theta);
      widen_block(inputs.exp_avg, begin, count, m);
      if (inputs.exp_avg_sq.data == nullptr) {
        for (std::int64_t i = 0; i < count; ++i) {
          theta[i] = scalars.ahead(theta[i], m[i]);
        }
      } else {
        widen_block(inputs.exp_avg_sq, begin, count, v);
        for (std::int64_t i = 0; i < count; ++i) {
          theta[i] = scalars.ahead(theta[i], m[i], v[i]);
        }
      }
      non_finite += store_block(theta, count, destination, begin);
    }
  });
  return non_finite;
}

std::uint64_t adam_direction_cpu(const SegmentTable& destination, const SegmentTable& weights,
                                 const SegmentTable& exp_avg, const SegmentTable* exp_avg_sq,
                                 const AdamRows& rows) {
  check_rows(destination, rows.row_of_segment, rows.rows);
  const bool streaming = streams(destination);
  return parallel_sum_over_chunks(destination, [&](const Chunk& chunk) {
    const auto s = static_cast<std::size_t>(chunk.segment);
    const Segment& segment = destination.segments()[s];
    ChunkInputs inputs = {pointer_into(weights.segments()[s], chunk.begin),
                          pointer_into(exp_avg.segments()[s], chunk.begin),
                          {nullptr, DType::kFloat32}};
    if (exp_avg_sq != nullptr) {
      inputs.exp_avg_sq = pointer_into(exp_avg_sq->segments()[s], chunk.begin);
    }
    const Destination to = destination_at(segment, chunk.begin, streaming);
    const AdamRow& row = rows.values[rows.row_of_segment == nullptr ? 0 : rows.row_of_segment[s]];
    const std::int64_t length = chunk_length(segment.length, chunk.begin);
    const bool float64 = to.dtype == DType::kFloat64 || inputs.weights.dtype == DType::kFloat64 ||
                         inputs.exp_avg.dtype == DType::kFloat64 ||
                         inputs.exp_avg_sq.dtype == DType::kFloat64;
    const std::uint64_t non_finite = float64
                                         ? adam_chunk(to, inputs, length, AdamScalars<double>(row))
                                         : adam_chunk(to, inputs, length, AdamScalars<float>(row));
    end_streaming();
    return non_finite;
  });
}

}  // namespace

AdamRow AdamRow::adam(double horizon, double lr, double beta1, double beta2, double epsilon,
                      double weight_decay, std::int64_t steps_done) {
  LV_CHECK(horizon >= 0, "horizon " << horizon << ", expected 0 or more");
  LV_CHECK(lr * weight_decay < 1,
           "lr " << lr << " times weight decay " << weight_decay << ", expected less than 1");
  LV_CHECK(epsilon >= 0, "epsilon " << epsilon << ", expected 0 or more");
  LV_CHECK(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1,
           "betas " << beta1 << " and " << beta2 << ", expected within [0, 1)");
  LV_CHECK(steps_done >= 1, steps_done << " steps done, expected 1 or more");
  const auto steps = static_cast<double>(steps_done);
  AdamRow row;
  row.keep = std::pow(1.0 - lr * weight_decay, horizon);
  row.step = horizon * lr / (1.0 - std::pow(beta1, steps));
  row.root_scale = 1.0 / std::sqrt(1.0 - std::pow(beta2, steps));
  row.epsilon = epsilon;
  return row;
}

AdamRow AdamRow::sgd_momentum(double horizon, double lr) {
  LV_CHECK(horizon >= 0, "horizon " << horizon << ", expected 0 or more");
  AdamRow row;
  row.step = horizon * lr;
  return row;
}

void adam_direction(const SegmentTable& destination, const SegmentTable& weights,
                    const SegmentTable& exp_avg, const SegmentTable* exp_avg_sq,
                    const AdamRows& rows, std::uint64_t* non_finite, Stream stream) {
  check_floating(destination, "destination");
  check_floating(weights, "weights");
  check_floating(exp_avg, "exp_avg");
  check_same_shape(destination, "destination", weights, "weights");
  check_same_shape(destination, "destination", exp_avg, "exp_avg");
  if (exp_avg_sq != nullptr) {
    check_floating(*exp_avg_sq, "exp_avg_sq");
    check_same_shape(destination, "destination", *exp_avg_sq, "exp_avg_sq");
  }
  LV_CHECK(rows.values != nullptr, "rows are null");
  LV_CHECK(rows.rows >= 1, rows.rows << " rows, expected 1 or more");
  if (destination.device().kind == DeviceKind::kCuda) {
    adam_direction_cuda(destination, weights, exp_avg, exp_avg_sq, rows, non_finite, stream);
    return;
  }
  const std::uint64_t count = adam_direction_cpu(destination, weights, exp_avg, exp_avg_sq, rows);
  if (non_finite != nullptr) {
    *non_finite += count;
  }
}

}  // namespace leapverify::kernels

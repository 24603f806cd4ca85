// Argument checks of average_step and place_between, and their CPU version.
#include <leapverify/kernels/average_step.h>
#include <leapverify/kernels/average_step_thread.h>
#include <leapverify/kernels/cpu_blocks.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/parallel.h>
#include <leapverify/kernels/table_checks.h>
#include <leapverify/kernels/wide_vectors.h>

#include <algorithm>

namespace leapverify::kernels {
namespace {

/// The widened blocks of all tables stay in the L1 cache.
constexpr std::int64_t kBlockElements = 512;

/// values ← what they are once they were stored as a dtype; the loop is chosen once for all.
template <typename Sum>
void round_block(Sum* values, std::int64_t count, DType dtype) {
  if (dtype == DType::kBFloat16) {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = as_stored(values[i], DType::kBFloat16);
    }
  } else if (dtype == DType::kFloat16) {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = as_stored(values[i], DType::kFloat16);
    }
  } else if (dtype == DType::kFloat32) {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = as_stored(values[i], DType::kFloat32);
    }
  } else {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = as_stored(values[i], DType::kFloat64);
    }
  }
}

template <typename Sum>
void average_chunk(const Destination& weights, const Destination& iterate,
                   const Destination& average, std::int64_t length,
                   const AverageScalars<Sum>& scalars, bool takes_in) {
  with_wide_vectors([&] {
    const AverageScalars<Sum> s = scalars;
    alignas(64) Sum w[kBlockElements];
    alignas(64) Sum z[kBlockElements];
    alignas(64) Sum x[kBlockElements];
    alignas(64) Sum y[kBlockElements];
    for (std::int64_t begin = 0; begin < length; begin += kBlockElements) {
      const std::int64_t count = std::min(kBlockElements, length - begin);
      widen_block(TypedPointer{iterate.data, iterate.dtype}, begin, count, z);
      widen_block(TypedPointer{average.data, average.dtype}, begin, count, x);
      if (takes_in) {
        widen_block(TypedPointer{weights.data, weights.dtype}, begin, count, w);
        for (std::int64_t i = 0; i < count; ++i) {
          y[i] = between(z[i], x[i], s.last_pull);
        }
        round_block(y, count, weights.dtype);
        for (std::int64_t i = 0; i < count; ++i) {
          z[i] = moved(z[i], w[i], y[i]);
        }
        round_block(z, count, iterate.dtype);
        for (std::int64_t i = 0; i < count; ++i) {
          x[i] = between(x[i], z[i], s.share);
        }
        round_block(x, count, average.dtype);
        store_block(z, count, iterate, begin);
        store_block(x, count, average, begin);
      }
      for (std::int64_t i = 0; i < count; ++i) {
        w[i] = between(z[i], x[i], s.pull);
      }
      store_block(w, count, weights, begin);
    }
  });
}

void average_step_cpu(const SegmentTable& weights, const SegmentTable& iterate,
                      const SegmentTable& average, const AverageStep& step, bool takes_in) {
  const bool streaming = streams(weights);
  parallel_sum_over_chunks(weights, [&](const Chunk& chunk) {
    const auto s = static_cast<std::size_t>(chunk.segment);
    const auto at = [&](const SegmentTable& table) {
      return destination_at(table.segments()[s], chunk.begin, streaming);
    };
    const Destination w = at(weights), z = at(iterate), x = at(average);
    const std::int64_t length = chunk_length(weights.segments()[s].length, chunk.begin);
    const bool float64 =
        w.dtype == DType::kFloat64 || z.dtype == DType::kFloat64 || x.dtype == DType::kFloat64;
    if (float64) {
      average_chunk(w, z, x, length, AverageScalars<double>(step), takes_in);
    } else {
      average_chunk(w, z, x, length, AverageScalars<float>(step), takes_in);
    }
    end_streaming();
    return std::uint64_t{0};
  });
}

void run(const SegmentTable& weights, const SegmentTable& iterate, const SegmentTable& average,
         const AverageStep& step, bool takes_in, Stream stream) {
  check_floating(weights, "weights");
  check_floating(iterate, "iterate");
  check_floating(average, "average");
  check_same_shape(weights, "weights", iterate, "iterate");
  check_same_shape(weights, "weights", average, "average");
  for (const double scalar : {step.last_pull, step.share, step.pull}) {
    LV_CHECK(scalar >= 0 && scalar <= 1, "a share of " << scalar << ", expected within [0, 1]");
  }
  if (weights.device().kind == DeviceKind::kCuda) {
    average_step_cuda(weights, iterate, average, step, takes_in, stream);
  } else {
    average_step_cpu(weights, iterate, average, step, takes_in);
  }
}

}  // namespace

void average_step(const SegmentTable& weights, const SegmentTable& iterate,
                  const SegmentTable& average, const AverageStep& step, Stream stream) {
  run(weights, iterate, average, step, /*takes_in=*/true, stream);
}

void place_between(const SegmentTable& weights, const SegmentTable& iterate,
                   const SegmentTable& average, double pull, Stream stream) {
  AverageStep step;
  step.pull = pull;
  run(weights, iterate, average, step, /*takes_in=*/false, stream);
}

}  // namespace leapverify::kernels

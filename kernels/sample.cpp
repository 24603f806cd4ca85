// Argument checks of sample, and its CPU version.
#include <leapverify/kernels/cpu_blocks.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/parallel.h>
#include <leapverify/kernels/sample.h>
#include <leapverify/kernels/sample_thread.h>
#include <leapverify/kernels/table_checks.h>
#include <leapverify/kernels/wide_vectors.h>

#include <algorithm>
#include <cmath>

namespace leapverify::kernels {
namespace {

constexpr std::int64_t kBlockElements = 512;

template <typename Element, typename Sum>
void gather_block(const void* data, std::int64_t first, std::int64_t count, std::int64_t spacing,
                  Sum* values) {
  const auto* elements = static_cast<const Element*>(data) + first;
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = widen<Sum>(elements[i * spacing]);
  }
}

/// values[i] ← element (begin + i) · spacing of an array of a floating dtype.
template <typename Sum>
void gather_block(const TypedPointer& from, std::int64_t begin, std::int64_t count,
                  std::int64_t spacing, Sum* values) {
  if (spacing == 1) {
    widen_block(from, begin, count, values);
    return;
  }
  const std::int64_t first = begin * spacing;
  switch (from.dtype) {
    case DType::kFloat32:
      return gather_block<float>(from.data, first, count, spacing, values);
    case DType::kBFloat16:
      return gather_block<BFloat16>(from.data, first, count, spacing, values);
    case DType::kFloat16:
      return gather_block<Float16>(from.data, first, count, spacing, values);
    case DType::kFloat64:
      return gather_block<double>(from.data, first, count, spacing, values);
    case DType::kBytes:
      return;
  }
}

template <typename Sum>
void sample_chunk(const Destination& samples, const TypedPointer& source, std::int64_t length,
                  const SampleStep& step) {
  with_wide_vectors([&] {
    const SampleFactors<Sum> factors(step);
    alignas(64) Sum held[kBlockElements] = {};
    alignas(64) Sum taken[kBlockElements];
    for (std::int64_t begin = 0; begin < length; begin += kBlockElements) {
      const std::int64_t count = std::min(kBlockElements, length - begin);
      gather_block(source, begin, count, step.spacing, taken);
      if (factors.reads_samples()) {
        widen_block(TypedPointer{samples.data, samples.dtype}, begin, count, held);
      }
      for (std::int64_t i = 0; i < count; ++i) {
        taken[i] = sampled(held[i], taken[i], factors);
      }
      store_block(taken, count, samples, begin);
    }
  });
}

void sample_cpu(const SegmentTable& samples, const SegmentTable& source, const SampleStep& step) {
  parallel_sum_over_chunks(samples, [&](const Chunk& chunk) {
    const auto s = static_cast<std::size_t>(chunk.segment);
    const Segment& segment = samples.segments()[s];
    const Destination to = destination_at(segment, chunk.begin, /*streaming=*/false);
    const TypedPointer from = pointer_into(source.segments()[s], chunk.begin * step.spacing);
    const std::int64_t length = chunk_length(segment.length, chunk.begin);
    if (to.dtype == DType::kFloat64 || from.dtype == DType::kFloat64) {
      sample_chunk<double>(to, from, length, step);
    } else {
      sample_chunk<float>(to, from, length, step);
    }
    return std::uint64_t{0};
  });
}

void check_samples(const SegmentTable& samples, const SegmentTable& source, std::int64_t spacing) {
  LV_CHECK(samples.device() == source.device(), "samples are on " << name_of(samples.device())
                                                                  << ", source on "
                                                                  << name_of(source.device()));
  LV_CHECK(samples.segments().size() == source.segments().size(),
           "samples have " << samples.segments().size() << " segments, source has "
                           << source.segments().size());
  for (std::size_t s = 0; s < samples.segments().size(); ++s) {
    const std::int64_t length = source.segments()[s].length;
    const std::int64_t expected = length / spacing + (length % spacing == 0 ? 0 : 1);
    LV_CHECK(samples.segments()[s].length == expected,
             "segment " << s << ": " << samples.segments()[s].length << " samples of " << length
                        << " elements, expected " << expected << " with a spacing of " << spacing);
  }
}

}  // namespace

void sample(const SegmentTable& samples, const SegmentTable& source, const SampleStep& step,
            Stream stream) {
  check_floating(samples, "samples");
  check_floating(source, "source");
  LV_CHECK(step.spacing >= 1, "a spacing of " << step.spacing << ", expected at least 1");
  LV_CHECK(std::isfinite(step.keep) && std::isfinite(step.share),
           "factors " << step.keep << " and " << step.share << ", expected finite ones");
  check_samples(samples, source, step.spacing);
  if (samples.device().kind == DeviceKind::kCuda) {
    sample_cuda(samples, source, step, stream);
  } else {
    sample_cpu(samples, source, step);
  }
}

}  // namespace leapverify::kernels

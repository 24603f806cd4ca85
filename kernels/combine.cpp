// Argument checks of combine, and the CPU version that defines its meaning.
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/table_checks.h>
#include <leapverify/kernels/wide_vectors.h>

#include <algorithm>

namespace leapverify::kernels {
namespace {

/// Sums are formed in blocks that stay in the L1 cache, so that memory is passed over once.
constexpr std::int64_t kBlockElements = 1024;

template <typename Element, typename Sum>
void add_source(const void* data, std::int64_t begin, std::int64_t count, Sum coefficient,
                Sum* sums) {
  const auto* elements = static_cast<const Element*>(data) + begin;
  for (std::int64_t i = 0; i < count; ++i) {
    sums[i] = fused_multiply_add(coefficient, widen<Sum>(elements[i]), sums[i]);
  }
}

/// Returns the number of NaN and infinite results.
template <typename Element, typename Sum>
std::uint64_t store_sums(const Sum* sums, std::int64_t count, void* data, std::int64_t begin) {
  auto* elements = static_cast<Element*>(data) + begin;
  std::uint32_t non_finite = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto result = narrow<Element>(canonical_nan(sums[i]));
    elements[i] = result;
    non_finite += is_finite(result) ? 0u : 1u;
  }
  return non_finite;
}

struct WeightedSource {
  Segment segment;
  double coefficient;
};

template <typename Sum>
void add_source(const WeightedSource& source, std::int64_t begin, std::int64_t count, Sum* sums) {
  const auto coefficient = static_cast<Sum>(source.coefficient);
  switch (source.segment.dtype) {
    case DType::kFloat32:
      return add_source<float>(source.segment.data, begin, count, coefficient, sums);
    case DType::kBFloat16:
      return add_source<BFloat16>(source.segment.data, begin, count, coefficient, sums);
    case DType::kFloat16:
      return add_source<Float16>(source.segment.data, begin, count, coefficient, sums);
    case DType::kFloat64:
      return add_source<double>(source.segment.data, begin, count, coefficient, sums);
    case DType::kBytes:
      return;
  }
}

template <typename Sum>
std::uint64_t store_sums(const Sum* sums, std::int64_t count, const Segment& destination,
                         std::int64_t begin) {
  switch (destination.dtype) {
    case DType::kFloat32:
      return store_sums<float>(sums, count, destination.data, begin);
    case DType::kBFloat16:
      return store_sums<BFloat16>(sums, count, destination.data, begin);
    case DType::kFloat16:
      return store_sums<Float16>(sums, count, destination.data, begin);
    case DType::kFloat64:
      return store_sums<double>(sums, count, destination.data, begin);
    case DType::kBytes:
      return 0;
  }
  return 0;
}

template <typename Sum>
std::uint64_t combine_segment(const Segment& destination,
                              const std::vector<WeightedSource>& sources) {
  std::uint64_t non_finite = 0;
  with_wide_vectors([&] {
    for (std::int64_t begin = 0; begin < destination.length; begin += kBlockElements) {
      const std::int64_t count = std::min(kBlockElements, destination.length - begin);
      alignas(64) Sum sums[kBlockElements];
      std::fill_n(sums, count, Sum(0));
      for (const WeightedSource& source : sources) {
        if (static_cast<Sum>(source.coefficient) != Sum(0)) {
          add_source(source, begin, count, sums);
        }
      }
      non_finite += store_sums(sums, count, destination, begin);
    }
  });
  return non_finite;
}

void combine_cpu(const SegmentTable& destination, const std::vector<const SegmentTable*>& sources,
                 const Coefficients& coefficients, std::uint64_t* non_finite) {
  std::vector<WeightedSource> weighted(sources.size());
  for (std::size_t s = 0; s < destination.segments().size(); ++s) {
    const Segment& segment = destination.segments()[s];
    const std::int32_t row =
        coefficients.row_of_segment == nullptr ? 0 : coefficients.row_of_segment[s];
    LV_CHECK(row >= 0 && row < coefficients.rows, "segment " << s << " has coefficient row " << row
                                                             << ", expected 0 to "
                                                             << coefficients.rows - 1);
    const double* values = coefficients.values + row * static_cast<std::int64_t>(sources.size());
    bool float64 = segment.dtype == DType::kFloat64;
    for (std::size_t k = 0; k < sources.size(); ++k) {
      weighted[k] = {sources[k]->segments()[s], values[k]};
      float64 = float64 || weighted[k].segment.dtype == DType::kFloat64;
    }
    const std::uint64_t count = float64 ? combine_segment<double>(segment, weighted)
                                        : combine_segment<float>(segment, weighted);
    if (non_finite != nullptr) {
      *non_finite += count;
    }
  }
}

}  // namespace

void combine(const SegmentTable& destination, const std::vector<const SegmentTable*>& sources,
             const Coefficients& coefficients, std::uint64_t* non_finite, Stream stream) {
  check_floating(destination, "destination");
  check_sources(sources);
  check_same_shape(destination, "destination", *sources.front(), "source 0");
  LV_CHECK(coefficients.values != nullptr, "coefficients are null");
  LV_CHECK(coefficients.rows >= 1,
           coefficients.rows << " rows of coefficients, expected 1 or more");
  if (destination.device().kind == DeviceKind::kCuda) {
    combine_cuda(destination, sources, coefficients, non_finite, stream);
  } else {
    combine_cpu(destination, sources, coefficients, non_finite);
  }
}

}  // namespace leapverify::kernels

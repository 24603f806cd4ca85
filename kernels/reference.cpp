// One loop an operation, without any care for speed.
#include <leapverify/kernels/mix.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/reference.h>

#include <algorithm>
#include <cmath>

namespace leapverify::kernels::reference {
namespace {

double element_of(const SegmentTable& table, std::size_t segment, std::int64_t index) {
  const Segment& s = table.segments()[segment];
  return element(s.data, s.dtype, index);
}

}  // namespace

double element(const void* data, DType dtype, std::int64_t index) {
  switch (dtype) {
    case DType::kFloat32:
      return static_cast<const float*>(data)[index];
    case DType::kBFloat16:
      return to_float(static_cast<const BFloat16*>(data)[index]);
    case DType::kFloat16:
      return to_float(static_cast<const Float16*>(data)[index]);
    case DType::kFloat64:
      return static_cast<const double*>(data)[index];
    case DType::kBytes:
      return static_cast<const unsigned char*>(data)[index];
  }
  return 0.0;
}

std::vector<double> combine(const std::vector<const SegmentTable*>& sources, std::size_t segment,
                            const std::vector<double>& coefficients) {
  std::vector<double> result;
  for (std::int64_t i = 0; i < sources[0]->segments()[segment].length; ++i) {
    double sum = 0.0;
    for (std::size_t k = 0; k < sources.size(); ++k) {
      if (coefficients[k] != 0.0) {
        sum += coefficients[k] * element_of(*sources[k], segment, i);
      }
    }
    result.push_back(sum);
  }
  return result;
}

std::vector<double> adam_direction(const SegmentTable& weights, const SegmentTable& exp_avg,
                                   const SegmentTable* exp_avg_sq, std::size_t segment,
                                   const AdamRow& row) {
  std::vector<double> result;
  for (std::int64_t i = 0; i < weights.segments()[segment].length; ++i) {
    double direction = element_of(exp_avg, segment, i);
    if (exp_avg_sq != nullptr) {
      const double root = std::sqrt(element_of(*exp_avg_sq, segment, i));
      direction /= row.root_scale * root + row.epsilon;
    }
    result.push_back(row.keep * element_of(weights, segment, i) - row.step * direction);
  }
  return result;
}

AverageStepResult average_step(const SegmentTable& weights, const SegmentTable& iterate,
                               const SegmentTable& average, std::size_t segment,
                               const AverageStep& step) {
  AverageStepResult result;
  for (std::int64_t i = 0; i < weights.segments()[segment].length; ++i) {
    double z = element_of(iterate, segment, i);
    double x = element_of(average, segment, i);
    const double y = z + step.last_pull * (x - z);
    z += element_of(weights, segment, i) - y;
    x += step.share * (z - x);
    result.iterate.push_back(z);
    result.average.push_back(x);
    result.weights.push_back(z + step.pull * (x - z));
  }
  return result;
}

std::vector<double> sample(const SegmentTable& samples, const SegmentTable& source,
                           std::size_t segment, const SampleStep& step) {
  std::vector<double> result;
  const std::int64_t length = source.segments()[segment].length;
  for (std::int64_t i = 0; i * step.spacing < length; ++i) {
    double value = step.share * element_of(source, segment, i * step.spacing);
    if (step.keep != 0) value += step.keep * element_of(samples, segment, i);
    result.push_back(value);
  }
  return result;
}

std::vector<double> gram(const std::vector<const SegmentTable*>& sources,
                         const SegmentTable* reference, std::size_t segment) {
  std::vector<double> result;
  for (const SegmentTable* a : sources) {
    for (const SegmentTable* b : sources) {
      double sum = 0.0;
      for (std::int64_t i = 0; i < a->segments()[segment].length; ++i) {
        const double r = reference == nullptr ? 0.0 : element_of(*reference, segment, i);
        sum += (element_of(*a, segment, i) - r) * (element_of(*b, segment, i) - r);
      }
      result.push_back(sum);
    }
  }
  return result;
}

std::vector<double> cosine(const MatrixView& a, const MatrixView& b) {
  std::vector<double> result;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    double ab = 0.0;
    double aa = 0.0;
    double bb = 0.0;
    for (std::int64_t column = 0; column < a.columns; ++column) {
      const double x = element(a.data, a.dtype, row * a.columns + column);
      const double y = element(b.data, b.dtype, row * b.columns + column);
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    const double cosine = ab / (std::sqrt(aa) * std::sqrt(bb));
    const bool no_direction = (aa == 0.0 || bb == 0.0) && ab == 0.0;
    const bool is_nan = cosine != cosine;
    result.push_back(no_direction ? 0.0 : is_nan ? cosine : std::clamp(cosine, -1.0, 1.0));
  }
  return result;
}

std::uint64_t checksum(const SegmentTable& table) {
  std::uint64_t digest = 0;
  for (std::size_t s = 0; s < table.segments().size(); ++s) {
    const Segment& segment = table.segments()[s];
    const auto* bytes = static_cast<const unsigned char*>(segment.data);
    const std::int64_t count = segment.length * size_of(segment.dtype);
    const std::uint64_t shape =
        mix((s + 1) * kGoldenGamma ^ static_cast<std::uint64_t>(segment.length));
    digest += mix(shape + static_cast<std::uint64_t>(segment.dtype));
    for (std::int64_t begin = 0; begin < count; begin += 8) {
      std::uint64_t word = 0;
      for (std::int64_t i = begin; i < std::min(begin + 8, count); ++i) {
        word |= static_cast<std::uint64_t>(bytes[i]) << (8 * (i - begin));
      }
      const std::uint64_t position =
          (static_cast<std::uint64_t>(s) << 40) + static_cast<std::uint64_t>(begin / 8);
      digest += mix(word ^ ((position + 1) * kGoldenGamma));
    }
  }
  return digest;
}

}  // namespace leapverify::kernels::reference

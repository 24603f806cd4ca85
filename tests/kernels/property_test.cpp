// Random lists of random tensors through every kernel, against the definitions in float64 and the
// guard bytes.
#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/copy.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/kernels/reference.h>

#include <gmock/gmock.h>

#include <cmath>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

constexpr int kCases = 60;

class Property : public DeviceTest {};
LV_INSTANTIATE_FOR_DEVICES(Property);

/// Draws lists of tensors: mostly tiny ones, sometimes one of several chunks.
class Generator {
 public:
  Generator(std::uint64_t seed, Device device) : random_(seed), device_(device) {}

  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }
  bool chance(double probability) { return std::bernoulli_distribution(probability)(random_); }
  double normal() { return std::normal_distribution<double>()(random_); }

  std::vector<std::int64_t> lengths() {
    std::vector<std::int64_t> result(static_cast<std::size_t>(integer(0, 12)));
    for (std::int64_t& length : result) {
      length = chance(0.1) ? integer(0, 3 * kChunkElements) : integer(0, 70);
    }
    return result;
  }

  DType dtype(bool with_bytes = false) {
    const std::int64_t pick = integer(0, with_bytes ? 4 : 3);
    return pick == 4 ? DType::kBytes : kFloatingDTypes[pick];
  }

  std::vector<TensorSpec> specs(const std::vector<std::int64_t>& lengths, bool with_bytes = false) {
    const bool uniform = chance(0.5);
    const DType common = dtype(with_bytes);
    std::vector<TensorSpec> result;
    for (const std::int64_t length : lengths) {
      result.push_back({uniform ? common : dtype(with_bytes), length, integer(0, 5)});
    }
    return result;
  }

  std::unique_ptr<Tensors> tensors(const std::vector<TensorSpec>& specs) {
    auto result = std::make_unique<Tensors>(specs, device_);
    result->randomize(random_);
    return result;
  }
  /// The same shapes with other dtypes and alignments.
  std::unique_ptr<Tensors> tensors(const std::vector<std::int64_t>& lengths) {
    return tensors(specs(lengths));
  }

  double coefficient() { return chance(0.2) ? 0.0 : normal(); }

  std::mt19937_64& random() { return random_; }

 private:
  std::mt19937_64 random_;
  Device device_;
};

/// Tables of what the host holds of tensors on any device, for the definitions.
class HostTables {
 public:
  explicit HostTables(const std::vector<std::unique_ptr<Tensors>>& tensors) {
    for (const auto& each : tensors) {
      std::vector<Segment> segments;
      for (std::size_t s = 0; s < each->size(); ++s) {
        segments.push_back({each->host(s), each->spec(s).length, each->spec(s).dtype});
      }
      tables_.push_back(std::make_unique<SegmentTable>(segments));
    }
  }

  std::vector<const SegmentTable*> tables() const {
    std::vector<const SegmentTable*> result;
    for (const auto& table : tables_) {
      result.push_back(table.get());
    }
    return result;
  }

 private:
  std::vector<std::unique_ptr<SegmentTable>> tables_;
};

/// Largest relative error of rounding to a dtype.
double unit_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return 0x1p-24;
    case DType::kBFloat16:
      return 0x1p-8;
    case DType::kFloat16:
      return 0x1p-11;
    default:
      return 0x1p-53;
  }
}

/// Rounding of a result of this size in the dtype, subnormal numbers of float16 included.
double rounding(DType dtype, double value) {
  return unit_of(dtype) * std::abs(value) + (dtype == DType::kFloat16 ? 0x1p-25 : 0.0);
}

TEST_P(Property, CombineIsTheWeightedSum) {
  for (std::uint64_t seed = 1; seed <= kCases; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Generator draw(seed, device());
    const auto lengths = draw.lengths();
    const auto count = static_cast<std::size_t>(draw.integer(1, 7));
    std::vector<std::unique_ptr<Tensors>> owned;
    std::vector<const SegmentTable*> sources;
    std::vector<double> coefficients;
    for (std::size_t k = 0; k < count; ++k) {
      owned.push_back(draw.tensors(lengths));
      sources.push_back(&owned.back()->table());
      coefficients.push_back(static_cast<float>(draw.coefficient()));
    }
    const HostTables on_cpu(owned);
    const auto destination = draw.tensors(lengths);
    const DeviceArray<double> values(coefficients, device());
    const DeviceArray<std::uint64_t> non_finite({0}, device());
    combine(destination->table(), sources, {values.data()}, non_finite.data());
    destination->download();
    EXPECT_TRUE(destination->guards_untouched());
    EXPECT_EQ(non_finite.download()[0], 0u);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      const DType dtype = destination->spec(s).dtype;
      bool float64 = dtype == DType::kFloat64;
      for (const auto& source : owned) {
        float64 = float64 || source->spec(s).dtype == DType::kFloat64;
      }
      const std::vector<double> sums = reference::combine(on_cpu.tables(), s, coefficients);
      for (std::int64_t i = 0; i < lengths[s]; ++i) {
        double magnitude = 0;
        for (std::size_t k = 0; k < count; ++k) {
          magnitude += std::abs(coefficients[k] * owned[k]->get(s, i));
        }
        const double expected = sums[static_cast<std::size_t>(i)];
        const double tolerance =
            rounding(dtype, expected) * 1.01 +
            static_cast<double>(count + 1) * (float64 ? 0x1p-53 : 0x1p-24) * magnitude;
        ASSERT_NEAR(destination->get(s, i), expected, tolerance)
            << "segment " << s << " element " << i << " " << name_of(dtype);
      }
    }
  }
}

TEST_P(Property, SeveralDestinationsAreWhatEachIsAlone) {
  for (std::uint64_t seed = 1; seed <= kCases; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Generator draw(seed, device());
    const auto lengths = draw.lengths();
    const auto source_count = static_cast<std::size_t>(draw.integer(1, 6));
    const auto destination_count = static_cast<std::size_t>(draw.integer(1, 9));
    std::vector<std::unique_ptr<Tensors>> sources;
    std::vector<std::unique_ptr<Tensors>> together;
    std::vector<std::unique_ptr<Tensors>> alone;
    std::vector<const SegmentTable*> source_tables;
    std::vector<const SegmentTable*> tables;
    std::vector<double> coefficients;
    for (std::size_t k = 0; k < source_count; ++k) {
      sources.push_back(draw.tensors(lengths));
      if (draw.chance(0.3) && !lengths.empty() && lengths[0] > 0) {
        sources.back()->set(0, 0, std::nan(""));
        sources.back()->upload();
      }
      source_tables.push_back(&sources.back()->table());
    }
    const auto specs = draw.specs(lengths);
    for (std::size_t d = 0; d < destination_count; ++d) {
      together.push_back(draw.tensors(specs));
      alone.push_back(draw.tensors(specs));
      tables.push_back(&together.back()->table());
      for (std::size_t k = 0; k < source_count; ++k) {
        coefficients.push_back(draw.coefficient());
      }
    }
    const DeviceArray<double> values(coefficients, device());
    const DeviceArray<std::uint64_t> counts(std::vector<std::uint64_t>(destination_count, 0),
                                            device());
    combine(tables, source_tables, {values.data()}, counts.data());
    for (std::size_t d = 0; d < destination_count; ++d) {
      const DeviceArray<std::uint64_t> count({0}, device());
      combine(alone[d]->table(), source_tables, {values.data() + d * source_count}, count.data());
      EXPECT_EQ(counts.download()[d], count.download()[0]);
      together[d]->download();
      alone[d]->download();
      EXPECT_TRUE(together[d]->guards_untouched());
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        EXPECT_TRUE(same_bytes("segment " + std::to_string(s), specs[s].dtype, alone[d]->bytes(s),
                               together[d]->bytes(s)));
      }
    }
  }
}

TEST_P(Property, AdamDirectionIsItsFormula) {
  for (std::uint64_t seed = 1; seed <= kCases; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Generator draw(seed, device());
    const auto lengths = draw.lengths();
    std::vector<std::unique_ptr<Tensors>> inputs;
    for (int i = 0; i < 3; ++i) {
      inputs.push_back(draw.tensors(lengths));
    }
    Tensors& exp_avg_sq = *inputs[2];
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      for (std::int64_t i = 0; i < lengths[s]; ++i) {
        exp_avg_sq.set(s, i, std::abs(exp_avg_sq.get(s, i)));
      }
    }
    exp_avg_sq.upload();
    const HostTables on_cpu(inputs);
    const auto destination = draw.tensors(lengths);
    const bool has_second_moment = draw.chance(0.7);
    const AdamRow row = AdamRow::adam(static_cast<double>(draw.integer(0, 50)), 1e-2, 0.9, 0.99,
                                      1e-3, 0.1, draw.integer(1, 100));
    const DeviceArray<AdamRow> rows({row}, device());
    adam_direction(destination->table(), inputs[0]->table(), inputs[1]->table(),
                   has_second_moment ? &exp_avg_sq.table() : nullptr, {rows.data()});
    destination->download();
    EXPECT_TRUE(destination->guards_untouched());
    const auto tables = on_cpu.tables();
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      const std::vector<double> expected = reference::adam_direction(
          *tables[0], *tables[1], has_second_moment ? tables[2] : nullptr, s, row);
      for (std::int64_t i = 0; i < lengths[s]; ++i) {
        const double value = expected[static_cast<std::size_t>(i)];
        const double kept = row.keep * inputs[0]->get(s, i);
        const double magnitude = std::abs(kept) + std::abs(value - kept);
        ASSERT_NEAR(destination->get(s, i), value,
                    rounding(destination->spec(s).dtype, value) * 1.01 + 6 * 0x1p-24 * magnitude)
            << "segment " << s << " element " << i;
      }
    }
  }
}

TEST_P(Property, GramHoldsEveryInnerProduct) {
  for (std::uint64_t seed = 1; seed <= kCases / 2; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Generator draw(seed, device());
    const auto lengths = draw.lengths();
    const auto count = static_cast<std::size_t>(draw.integer(1, 9));
    std::vector<std::unique_ptr<Tensors>> sources;
    std::vector<const SegmentTable*> tables;
    for (std::size_t k = 0; k < count; ++k) {
      sources.push_back(draw.tensors(lengths));
      tables.push_back(&sources.back()->table());
    }
    auto reference = draw.tensors(lengths);
    const bool subtract = draw.chance(0.5);
    const DeviceArray<double> result(std::vector<double>(lengths.size() * count * count), device());
    const DeviceArray<double> workspace(std::vector<double>(static_cast<std::size_t>(
                                            gram_workspace(*tables[0], static_cast<int>(count)))),
                                        device());
    gram(tables, subtract ? &reference->table() : nullptr, result.data(), workspace.data());
    const std::vector<double> actual = result.download();
    const HostTables on_cpu(sources);
    std::vector<std::unique_ptr<Tensors>> subtracted;
    subtracted.push_back(std::move(reference));
    const HostTables reference_on_cpu(subtracted);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      const std::vector<double> expected =
          reference::gram(on_cpu.tables(), subtract ? reference_on_cpu.tables()[0] : nullptr, s);
      for (std::size_t j = 0; j < count; ++j) {
        for (std::size_t k = 0; k < count; ++k) {
          const double scale = std::sqrt(expected[j * count + j] * expected[k * count + k]);
          ASSERT_NEAR(actual[(s * count + j) * count + k], expected[j * count + k], 1e-12 * scale)
              << "segment " << s << " pair " << j << ", " << k;
        }
      }
    }
  }
}

TEST_P(Property, CopyAndChecksumTakeAnyList) {
  for (std::uint64_t seed = 1; seed <= kCases; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Generator draw(seed, device());
    const auto lengths = draw.lengths();
    const auto specs = draw.specs(lengths, /*with_bytes=*/true);
    const auto source = draw.tensors(specs);
    auto other = specs;
    for (TensorSpec& spec : other) {
      spec.offset = draw.integer(0, 5);
    }
    const auto destination = draw.tensors(other);
    copy(destination->table(), source->table());
    destination->download();
    EXPECT_TRUE(destination->guards_untouched());
    const DeviceArray<std::uint64_t> digests({0, 0}, device());
    checksum(source->table(), digests.data());
    checksum(destination->table(), digests.data() + 1);
    EXPECT_EQ(digests.download()[0], digests.download()[1]);
    for (std::size_t s = 0; s < specs.size(); ++s) {
      EXPECT_TRUE(same_bytes("segment " + std::to_string(s), specs[s].dtype, source->bytes(s),
                             destination->bytes(s)));
    }
    if (device().kind == DeviceKind::kCpu) {
      EXPECT_EQ(digests.download()[0], reference::checksum(source->table()));
    }
  }
}

}  // namespace
}  // namespace leapverify::kernels::testing

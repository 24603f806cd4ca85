// combine against a sum written out element by element, on both devices.
#include <leapverify/kernels/combine.h>

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

class Combine : public DeviceTest {};
LV_INSTANTIATE_FOR_DEVICES(Combine);

const double kNaN = std::numeric_limits<double>::quiet_NaN();
const double kInfinity = std::numeric_limits<double>::infinity();

template <typename Sum>
double weighted_sum(const std::vector<double>& coefficients, const std::vector<double>& values) {
  Sum sum = 0;
  for (std::size_t k = 0; k < values.size(); ++k) {
    const auto coefficient = static_cast<Sum>(coefficients[k]);
    if (coefficient != 0) {
      sum = std::fma(coefficient, static_cast<Sum>(values[k]), sum);
    }
  }
  return sum;
}

/// The bytes that the combination should leave in each segment of the destination.
std::vector<std::vector<std::byte>> expected_bytes(
    Tensors& destination, const std::vector<Tensors*>& sources,
    const std::function<std::vector<double>(std::size_t)>& row) {
  std::vector<std::vector<std::byte>> expected;
  for (std::size_t s = 0; s < destination.size(); ++s) {
    const DType dtype = destination.spec(s).dtype;
    bool float64 = dtype == DType::kFloat64;
    for (const Tensors* source : sources) {
      float64 = float64 || source->spec(s).dtype == DType::kFloat64;
    }
    std::vector<std::byte> bytes(destination.byte_count(s));
    for (std::int64_t i = 0; i < destination.spec(s).length; ++i) {
      std::vector<double> values;
      for (Tensors* source : sources) {
        values.push_back(source->get(s, i));
      }
      set_value(
          bytes.data(), dtype, i,
          float64 ? weighted_sum<double>(row(s), values) : weighted_sum<float>(row(s), values));
    }
    expected.push_back(bytes);
  }
  return expected;
}

std::vector<const SegmentTable*> tables_of(const std::vector<Tensors*>& tensors) {
  std::vector<const SegmentTable*> tables;
  for (const Tensors* tensor : tensors) {
    tables.push_back(&tensor->table());
  }
  return tables;
}

/// Runs combine with one row of coefficients and compares every byte, guards included.
void expect_combined(Tensors& destination, const std::vector<Tensors*>& sources,
                     const std::vector<double>& coefficients, Device device) {
  const auto expected =
      expected_bytes(destination, sources, [&](std::size_t) { return coefficients; });
  const DeviceArray<double> values(coefficients, device);
  combine(destination.table(), tables_of(sources), {values.data()});
  destination.download();
  for (std::size_t s = 0; s < expected.size(); ++s) {
    EXPECT_TRUE(same_bytes("segment " + std::to_string(s), destination.spec(s).dtype, expected[s],
                           destination.bytes(s)));
  }
  EXPECT_TRUE(destination.guards_untouched());
}

TEST_P(Combine, AddsUpEveryMixOfDTypesAtEdgeLengths) {
  const std::uint64_t seed = 11;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<DType> half = {DType::kBFloat16, DType::kFloat16};
  const std::vector<DType> single = {DType::kFloat32};
  const std::vector<DType> all = {DType::kFloat32, DType::kBFloat16, DType::kFloat16,
                                  DType::kFloat64};
  const std::vector<DType> shifted = {DType::kFloat16, DType::kFloat32, DType::kFloat64,
                                      DType::kBFloat16, DType::kFloat32};
  for (const auto& dtypes : {half, single, all, shifted}) {
    for (const std::int64_t shift : {0, 1}) {
      Tensors destination(edge_specs(dtypes, shift), device());
      Tensors first(edge_specs(all, 0), device());
      Tensors second(edge_specs(single, shift), device());
      Tensors third(edge_specs(half, 2), device());
      for (Tensors* tensors : {&destination, &first, &second, &third}) {
        tensors->randomize(random);
      }
      expect_combined(destination, {&first, &second, &third}, {0.7, -1.3, 2.1}, device());
      expect_combined(destination, {&third, &second}, {0.1, 0.9}, device());
    }
  }
}

TEST_P(Combine, AddsUpEveryPairOfSourceAndDestinationDTypes) {
  const std::uint64_t seed = 12;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const DType to : kFloatingDTypes) {
    for (const DType from : kFloatingDTypes) {
      for (const std::int64_t offset : {0, 1}) {
        SCOPED_TRACE(::testing::Message() << name_of(from) << " to " << name_of(to));
        Tensors destination({{to, 4099, 0}}, device());
        Tensors source({{from, 4099, offset}}, device());
        source.randomize(random);
        expect_combined(destination, {&source}, {1.0 / 3.0}, device());
      }
    }
  }
}

TEST_P(Combine, ConvertsEveryHalfPatternThere) {
  for (const DType from : {DType::kFloat16, DType::kBFloat16}) {
    for (const DType to : kFloatingDTypes) {
      SCOPED_TRACE(::testing::Message() << name_of(from) << " to " << name_of(to));
      Tensors source({{from, 65536}}, device());
      for (int pattern = 0; pattern < 65536; ++pattern) {
        const auto bits = static_cast<std::uint16_t>(pattern);
        std::memcpy(source.host(0) + 2 * pattern, &bits, 2);
      }
      source.upload();
      Tensors destination({{to, 65536}}, device());
      const DeviceArray<double> one({1.0}, device());
      combine(destination.table(), {&source.table()}, {one.data()});
      destination.download();
      for (std::int64_t i = 0; i < 65536; ++i) {
        const double value = source.get(0, i);
        const double actual = destination.get(0, i);
        std::byte bytes[8];
        set_value(bytes, to, 0, value == 0 ? 0.0 : value);
        const double expected = element(bytes, to, 0);
        ASSERT_TRUE(actual == expected || (std::isnan(actual) && std::isnan(expected)))
            << "pattern " << i << " is " << actual << ", expected " << expected;
        ASSERT_FALSE(actual == 0 && std::signbit(actual) != std::signbit(expected))
            << "pattern " << i;
      }
    }
  }
}

TEST_P(Combine, RoundsFloat64OnceToHalf) {
  // 1 + 2^-11 + 2^-40 lies above the middle of two float16 numbers, yet rounds onto it in float32.
  Tensors source({{DType::kFloat64, 2}}, device());
  source.set(0, 0, 1.0 + 0x1p-11 + 0x1p-40);
  source.set(0, 1, 1.0 + 0x1p-11);
  source.upload();
  Tensors destination({{DType::kFloat16, 2}}, device());
  const DeviceArray<double> one({1.0}, device());
  combine(destination.table(), {&source.table()}, {one.data()});
  destination.download();
  EXPECT_EQ(destination.get(0, 0), 1.0 + 0x1p-10);
  EXPECT_EQ(destination.get(0, 1), 1.0);
}

TEST_P(Combine, DoesNothingForEmptyLists) {
  Tensors destination({}, device());
  Tensors source({}, device());
  const DeviceArray<double> one({1.0}, device());
  combine(destination.table(), {&source.table()}, {one.data()});
  Tensors empty({{DType::kFloat32, 0}, {DType::kFloat16, 0}}, device());
  combine(empty.table(), {&empty.table()}, {one.data()});
  empty.download();
  EXPECT_TRUE(empty.guards_untouched());
}

TEST_P(Combine, TakesThirtyTwoSources) {
  const std::uint64_t seed = 13;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::vector<std::unique_ptr<Tensors>> owned;
  std::vector<Tensors*> sources;
  std::vector<double> coefficients;
  for (int k = 0; k < kMaxSources; ++k) {
    owned.push_back(std::make_unique<Tensors>(
        std::vector<TensorSpec>{{kFloatingDTypes[k % 3], 5000, k % 5}, {DType::kFloat32, 3}},
        device()));
    owned.back()->randomize(random);
    sources.push_back(owned.back().get());
    coefficients.push_back(std::normal_distribution<double>()(random));
  }
  Tensors destination({{DType::kFloat32, 5000}, {DType::kFloat32, 3}}, device());
  expect_combined(destination, sources, coefficients, device());
}

TEST_P(Combine, TakesThousandsOfTinyTensors) {
  const std::uint64_t seed = 17;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::vector<TensorSpec> specs;
  for (std::int64_t i = 0; i < 5000; ++i) {
    specs.push_back({kFloatingDTypes[i % 4], i % 7, i % 3});
  }
  Tensors first(specs, device());
  Tensors second(specs, device());
  Tensors destination(specs, device());
  first.randomize(random);
  second.randomize(random);
  expect_combined(destination, {&first, &second}, {0.5, -2.0}, device());
}

TEST_P(Combine, KeepsSubnormalNumbersAndAddsZerosToPlusZero) {
  Tensors first({{DType::kFloat32, 4}}, device());
  Tensors second({{DType::kFloat32, 4}}, device());
  const float smallest = std::numeric_limits<float>::denorm_min();
  first.set(0, 0, smallest);
  first.set(0, 1, 3 * smallest);
  first.set(0, 2, -0.0);
  first.set(0, 3, std::numeric_limits<float>::min());
  second.set(0, 1, -2 * smallest);
  second.set(0, 2, -0.0);
  second.set(0, 3, -smallest);
  first.upload();
  second.upload();
  Tensors destination({{DType::kFloat32, 4}}, device());
  const DeviceArray<double> ones({1.0, 1.0}, device());
  combine(destination.table(), {&first.table(), &second.table()}, {ones.data()});
  destination.download();
  EXPECT_EQ(destination.get(0, 0), smallest);
  EXPECT_EQ(destination.get(0, 1), smallest);
  EXPECT_FALSE(std::signbit(destination.get(0, 2)));
  EXPECT_EQ(destination.get(0, 3), std::numeric_limits<float>::min() - smallest);
}

TEST_P(Combine, RefusesDestinationsThatDiffer) {
  Tensors five({{DType::kFloat32, 5}}, device());
  Tensors six({{DType::kFloat32, 6}}, device());
  Tensors half({{DType::kFloat16, 5}}, device());
  const DeviceArray<double> two({1.0, 1.0}, device());
  const std::vector<const SegmentTable*> source = {&five.table()};
  const Coefficients c = {two.data()};
  EXPECT_REFUSED(combine(std::vector<const SegmentTable*>{}, source, c),
                 "0 destinations, expected 1 to 32");
  EXPECT_REFUSED(combine({&five.table(), nullptr}, source, c), "destination 1 is null");
  EXPECT_REFUSED(combine({&five.table(), &six.table()}, source, c),
                 "source 0 has length 5 in segment 0, destination 1 has 6");
  EXPECT_REFUSED(combine({&five.table(), &half.table()}, source, c),
                 "destination 1 has dtype float16 in segment 0, destination 0 has float32");
  Tensors other({{DType::kFloat32, 5}}, device());
  EXPECT_REFUSED(combine({&other.table(), &five.table()}, source, c),
                 "destination 1 is source 0 in segment 0");
}

TEST_P(Combine, WritesToOneOfItsSources) {
  const std::uint64_t seed = 14;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<DType> dtypes = {DType::kFloat32, DType::kBFloat16, DType::kFloat64};
  Tensors weights(edge_specs(dtypes, 0), device());
  Tensors delta(edge_specs({DType::kFloat32}, 1), device());
  weights.randomize(random);
  delta.randomize(random);
  expect_combined(weights, {&delta, &weights}, {0.25, 0.5}, device());
}

TEST_P(Combine, UsesTheRowOfEachSegment) {
  const std::uint64_t seed = 15;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<TensorSpec> specs = {{DType::kFloat32, 5},
                                         {DType::kFloat32, kChunkElements + 9},
                                         {DType::kFloat16, 0},
                                         {DType::kFloat64, 33},
                                         {DType::kBFloat16, 100}};
  Tensors first(specs, device());
  Tensors second(specs, device());
  Tensors destination(specs, device());
  first.randomize(random);
  second.randomize(random);
  const std::vector<double> rows = {1.0, 2.0, -0.5, 0.0, 0.3, 0.7};
  const std::vector<std::int32_t> row_of_segment = {2, 0, 0, 1, 2};
  const auto expected = expected_bytes(destination, {&first, &second}, [&](std::size_t s) {
    const auto row = static_cast<std::size_t>(row_of_segment[s]);
    return std::vector<double>{rows[2 * row], rows[2 * row + 1]};
  });
  const DeviceArray<double> values(rows, device());
  const DeviceArray<std::int32_t> map(row_of_segment, device());
  combine(destination.table(), {&first.table(), &second.table()}, {values.data(), 3, map.data()});
  destination.download();
  for (std::size_t s = 0; s < expected.size(); ++s) {
    EXPECT_TRUE(same_bytes("segment " + std::to_string(s), specs[s].dtype, expected[s],
                           destination.bytes(s)));
  }
}

TEST_P(Combine, NeverReadsASourceWhoseCoefficientIsZero) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    Tensors bad({{dtype, 100}}, device());
    Tensors good({{dtype, 100}}, device());
    Tensors destination({{dtype, 100}}, device());
    for (std::int64_t i = 0; i < 100; ++i) {
      bad.set(0, i, i % 2 == 0 ? kNaN : kInfinity);
      good.set(0, i, static_cast<double>(i));
    }
    bad.upload();
    good.upload();
    expect_combined(destination, {&bad, &good, &bad}, {0.0, 1.0, -0.0}, device());
    expect_combined(destination, {&bad}, {0.0}, device());
    if (dtype == DType::kFloat32) {
      expect_combined(destination, {&bad, &good}, {1e-60, 2.0}, device());  // zero in float32
    }
  }
}

TEST_P(Combine, CountsResultsThatAreNotFinite) {
  for (const DType dtype : kFloatingDTypes) {
    SCOPED_TRACE(name_of(dtype));
    const std::int64_t length = 2 * kChunkElements + 5;
    Tensors source({{dtype, length, 1}, {dtype, 3}}, device());
    for (std::int64_t i = 0; i < length; ++i) {
      source.set(0, i, i % 1000 == 7 ? kNaN : (i % 1000 == 9 ? -kInfinity : 1.0));
    }
    source.set(0, length - 1, kNaN);
    source.upload();
    std::uint64_t expected = 5;
    for (std::int64_t i = 0; i < length; ++i) {
      expected += std::isfinite(source.get(0, i)) ? 0u : 1u;
    }
    Tensors destination({{dtype, length}, {dtype, 3}}, device());
    const DeviceArray<double> one({1.0}, device());
    const DeviceArray<std::uint64_t> counter({5}, device());
    combine(destination.table(), {&source.table()}, {one.data()}, counter.data());
    EXPECT_EQ(counter.download()[0], expected);
  }
}

TEST_P(Combine, CountsOverflowOfTheDestination) {
  Tensors source({{DType::kFloat32, 4}}, device());
  source.set(0, 0, 65519.0);
  source.set(0, 1, 65520.0);
  source.set(0, 2, -1e30);
  source.upload();
  Tensors destination({{DType::kFloat16, 4}}, device());
  const DeviceArray<double> one({1.0}, device());
  const DeviceArray<std::uint64_t> counter({0}, device());
  combine(destination.table(), {&source.table()}, {one.data()}, counter.data());
  destination.download();
  EXPECT_EQ(counter.download()[0], 2u);
  EXPECT_EQ(destination.get(0, 0), 65504.0);
  EXPECT_EQ(destination.get(0, 2), -kInfinity);
}

TEST_P(Combine, GivesOneNaNAndPositiveZero) {
  for (const DType dtype : kFloatingDTypes) {
    Tensors source({{dtype, 3}}, device());
    Tensors expected({{dtype, 3}}, device());
    source.set(0, 0, -kNaN);
    source.set(0, 1, -0.0);
    expected.set(0, 0, kNaN);
    std::memset(source.host(0) + 2 * size_of(dtype), 0xff,
                static_cast<std::size_t>(size_of(dtype)));
    expected.set(0, 2, kNaN);
    source.upload();
    Tensors destination({{dtype, 3}}, device());
    const DeviceArray<double> one({1.0}, device());
    combine(destination.table(), {&source.table()}, {one.data()});
    destination.download();
    EXPECT_TRUE(same_bytes("destination", dtype, expected.bytes(0), destination.bytes(0)));
  }
}

TEST_P(Combine, RefusesWhatDoesNotFit) {
  Tensors five({{DType::kFloat32, 5}}, device());
  Tensors six({{DType::kFloat32, 6}}, device());
  Tensors two({{DType::kFloat32, 5}, {DType::kFloat32, 1}}, device());
  Tensors bytes({{DType::kBytes, 5}}, device());
  const DeviceArray<double> one({1.0}, device());
  const Coefficients c = {one.data()};
  EXPECT_REFUSED(combine(five.table(), {}, c), "0 sources, expected 1 to 32");
  EXPECT_REFUSED(combine(five.table(), std::vector<const SegmentTable*>(33, &five.table()), c),
                 "33 sources, expected 1 to 32");
  EXPECT_REFUSED(combine(five.table(), {&five.table(), nullptr}, c), "source 1 is null");
  EXPECT_REFUSED(combine(five.table(), {&six.table()}, c),
                 "source 0 has length 6 in segment 0, destination has 5");
  EXPECT_REFUSED(combine(five.table(), {&five.table(), &six.table()}, c),
                 "source 1 has length 6 in segment 0, source 0 has 5");
  EXPECT_REFUSED(combine(five.table(), {&two.table()}, c), "source 0 has 2 segments");
  EXPECT_REFUSED(combine(bytes.table(), {&five.table()}, c), "destination has dtype bytes");
  EXPECT_REFUSED(combine(five.table(), {&bytes.table()}, c), "source 0 has dtype bytes");
  EXPECT_REFUSED(combine(five.table(), {&five.table()}, {}), "coefficients are null");
  EXPECT_REFUSED(combine(five.table(), {&five.table()}, {one.data(), 0}),
                 "0 rows of coefficients, expected 1 or more");
}

TEST(CombineOnCpu, RefusesOtherDevicesAndRowsOutOfRange) {
  Tensors five({{DType::kFloat32, 5}}, {});
  const SegmentTable elsewhere(five.table().segments(), {DeviceKind::kCuda, 1});
  const double one = 1.0;
  EXPECT_REFUSED(combine(five.table(), {&elsewhere}, {&one}),
                 "source 0 is on cuda:1, destination on cpu");
  const std::int32_t row = 3;
  EXPECT_REFUSED(combine(five.table(), {&five.table()}, {&one, 1, &row}),
                 "segment 0 has coefficient row 3, expected 0 to 0");
}

TEST(CombineOnBothDevices, AgreesBitwise_cuda) {
  if (!cuda_available()) {
    GTEST_SKIP() << "no CUDA device";
  }
  const std::uint64_t seed = 16;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  const std::vector<DType> all(std::begin(kFloatingDTypes), std::end(kFloatingDTypes));
  std::vector<std::vector<std::byte>> results[2];
  for (const DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kCuda}) {
    std::mt19937_64 random(seed);
    const Device device = {kind, 0};
    Tensors first(edge_specs(all, 0), device);
    Tensors second(edge_specs({DType::kFloat32, DType::kFloat16}, 1), device);
    Tensors destination(edge_specs({DType::kBFloat16, DType::kFloat32, DType::kFloat16}, 2),
                        device);
    first.randomize(random);
    second.randomize(random);
    const DeviceArray<double> values({1.7, -0.6}, device);
    combine(destination.table(), {&first.table(), &second.table()}, {values.data()});
    destination.download();
    for (std::size_t s = 0; s < destination.size(); ++s) {
      results[static_cast<int>(kind)].push_back(destination.bytes(s));
    }
  }
  for (std::size_t s = 0; s < results[0].size(); ++s) {
    EXPECT_TRUE(
        same_bytes("segment " + std::to_string(s), DType::kBytes, results[0][s], results[1][s]));
  }
}

}  // namespace
}  // namespace leapverify::kernels::testing

// sample against its formula, bitwise, on both devices.
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/reference.h>
#include <leapverify/kernels/sample.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

class Samples : public DeviceTest {};
LV_INSTANTIATE_FOR_DEVICES(Samples);

const std::vector<DType> kAll(std::begin(kFloatingDTypes), std::end(kFloatingDTypes));

/// Room for every `spacing`-th element of the sources.
std::vector<TensorSpec> sample_specs(const std::vector<TensorSpec>& sources,
                                     const std::vector<DType>& dtypes, std::int64_t spacing) {
  std::vector<TensorSpec> specs;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const std::int64_t count = (sources[s].length + spacing - 1) / spacing;
    specs.push_back({dtypes[s % dtypes.size()], count, static_cast<std::int64_t>(s) % 3});
  }
  return specs;
}

template <typename Sum>
Sum formula(Sum held, Sum taken, const SampleStep& step) {
  const Sum kept = step.keep == 0 ? 0 : std::fma(static_cast<Sum>(step.keep), held, Sum(0));
  return step.share == 0 ? kept : std::fma(static_cast<Sum>(step.share), taken, kept);
}

/// Runs sample and compares every byte, guards included.
void expect_sampled(Tensors& samples, Tensors& source, const SampleStep& step) {
  std::vector<std::vector<std::byte>> expected;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    expected.push_back(samples.bytes(s));
    const DType dtype = samples.spec(s).dtype;
    const bool float64 = dtype == DType::kFloat64 || source.spec(s).dtype == DType::kFloat64;
    for (std::int64_t i = 0; i < samples.spec(s).length; ++i) {
      const double held = samples.get(s, i);
      const double taken = source.get(s, i * step.spacing);
      const double value =
          float64 ? formula<double>(held, taken, step)
                  : formula<float>(static_cast<float>(held), static_cast<float>(taken), step);
      set_value(expected[s].data(), dtype, i, value);
    }
  }
  sample(samples.table(), source.table(), step);
  samples.download();
  for (std::size_t s = 0; s < samples.size(); ++s) {
    EXPECT_TRUE(same_bytes("segment " + std::to_string(s), samples.spec(s).dtype, expected[s],
                           samples.bytes(s)));
  }
  EXPECT_TRUE(samples.guards_untouched());
}

TEST_P(Samples, FollowTheFormulaForEveryMixOfDTypesAtEdgeLengths) {
  const std::uint64_t seed = 91;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<DType> single = {DType::kFloat32};
  const std::vector<DType> half = {DType::kBFloat16, DType::kFloat16};
  for (const std::int64_t spacing : {1, 2, 3, 7, 5000}) {
    for (const auto& [of_samples, of_source] :
         {std::pair{single, single}, {single, half}, {kAll, kAll}, {half, kAll}}) {
      const std::vector<TensorSpec> specs = edge_specs(of_source, 1);
      Tensors source(specs, device());
      Tensors samples(sample_specs(specs, of_samples, spacing), device());
      source.randomize(random);
      samples.randomize(random);
      expect_sampled(samples, source, {spacing, 0.9, 0.1});
      expect_sampled(samples, source, {spacing, 0, 1});
      expect_sampled(samples, source, {spacing, 0, -0.5});
      expect_sampled(samples, source, {spacing, 1, 0});
    }
  }
}

TEST_P(Samples, AreTheReferenceUpToRounding) {
  const std::uint64_t seed = 92;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const SampleStep step = {3, 0.9, 0.1};
  Tensors source({{DType::kFloat32, 1000}}, device()), cpu_source({{DType::kFloat32, 1000}}, {});
  Tensors samples({{DType::kFloat32, 334}}, device()), cpu_samples({{DType::kFloat32, 334}}, {});
  for (const auto& [tensors, copy] : {std::pair{&source, &cpu_source}, {&samples, &cpu_samples}}) {
    tensors->randomize(random);
    for (std::int64_t i = 0; i < tensors->spec(0).length; ++i) copy->set(0, i, tensors->get(0, i));
    copy->upload();
  }
  const std::vector<double> expected =
      reference::sample(cpu_samples.table(), cpu_source.table(), 0, step);
  ASSERT_EQ(expected.size(), 334u);
  sample(samples.table(), source.table(), step);
  samples.download();
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(samples.get(0, static_cast<std::int64_t>(i)), expected[i],
                1e-6 * (1 + std::abs(expected[i])))
        << i;
  }
}

TEST_P(Samples, OfEveryElementAreWhatCombineGives) {
  const std::uint64_t seed = 93;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  Tensors source(edge_specs(kAll, 1), device()), samples(edge_specs(kAll, 0), device());
  source.randomize(random);
  samples.randomize(random);
  Tensors combined(edge_specs(kAll, 2), device());
  const DeviceArray<double> factors({0.9, 0.1}, device());
  combine(combined.table(), {&samples.table(), &source.table()}, {factors.data()});
  sample(samples.table(), source.table(), {1, 0.9, 0.1});
  samples.download();
  combined.download();
  for (std::size_t s = 0; s < samples.size(); ++s) {
    EXPECT_TRUE(same_bytes("segment " + std::to_string(s), samples.spec(s).dtype, combined.bytes(s),
                           samples.bytes(s)));
  }
}

TEST_P(Samples, DoNotReadWhatTheyDoNotKeep) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  Tensors source({{DType::kFloat32, 9}}, device()), samples({{DType::kFloat32, 5}}, device());
  source.set(0, 4, nan);
  source.upload();
  for (std::int64_t i = 0; i < 5; ++i) samples.set(0, i, nan);
  samples.upload();
  sample(samples.table(), source.table(), {2, 0, 1});
  samples.download();
  for (std::int64_t i = 0; i < 5; ++i) EXPECT_EQ(std::isnan(samples.get(0, i)), i == 2) << i;
}

TEST_P(Samples, RefuseTablesSpacingsAndFactorsThatDoNotFit) {
  Tensors source({{DType::kFloat32, 8}}, device());
  Tensors three({{DType::kFloat32, 3}}, device());
  Tensors two({{DType::kFloat32, 2}}, device());
  Tensors bytes({{DType::kBytes, 3}}, device());
  Tensors both({{DType::kFloat32, 3}, {DType::kFloat32, 3}}, device());
  EXPECT_NO_THROW(sample(three.table(), source.table(), {3, 0, 1}));
  for (Tensors* wrong : {&two, &bytes, &both}) {
    EXPECT_THROW(sample(wrong->table(), source.table(), {3, 0, 1}), ContractError);
  }
  EXPECT_THROW(sample(three.table(), source.table(), {4, 0, 1}), ContractError);
  EXPECT_THROW(sample(source.table(), source.table(), {0, 0, 1}), ContractError);
  for (const double factor :
       {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(sample(three.table(), source.table(), {3, factor, 1}), ContractError);
    EXPECT_THROW(sample(three.table(), source.table(), {3, 0, factor}), ContractError);
  }
}

}  // namespace
}  // namespace leapverify::kernels::testing

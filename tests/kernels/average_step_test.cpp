// average_step and place_between against their formulas, bitwise, on both devices.
#include <leapverify/kernels/average_step.h>
#include <leapverify/kernels/reference.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

class AverageSteps : public DeviceTest {};
LV_INSTANTIATE_FOR_DEVICES(AverageSteps);

const std::vector<DType> kAll(std::begin(kFloatingDTypes), std::end(kFloatingDTypes));

template <typename Sum>
Sum formula(Sum a, Sum b, double share) {
  if (share == 0) return a;
  return share == 1 ? b : std::fma(static_cast<Sum>(share), b - a, a);
}

/// What a value is once it was stored as a dtype.
double stored(double value, DType dtype) {
  double memory = 0;
  set_value(&memory, dtype, 0, value);
  return reference::element(&memory, dtype, 0);
}

struct Expected {
  std::vector<std::vector<std::byte>> weights, iterate, average;
};

template <typename Sum>
void expect_element(Tensors& w, Tensors& z, Tensors& x, const AverageStep& step, std::size_t s,
                    std::int64_t i, Expected& into) {
  const DType of_w = w.spec(s).dtype, of_z = z.spec(s).dtype, of_x = x.spec(s).dtype;
  const auto before = static_cast<Sum>(z.get(s, i));
  const auto average = static_cast<Sum>(x.get(s, i));
  const Sum y = static_cast<Sum>(stored(formula(before, average, step.last_pull), of_w));
  const auto weight = static_cast<Sum>(w.get(s, i));
  const Sum moved = weight == y ? before : before + (weight - y);
  const Sum iterate = static_cast<Sum>(stored(moved, of_z));
  const Sum taken_in = static_cast<Sum>(stored(formula(average, iterate, step.share), of_x));
  set_value(into.iterate[s].data(), of_z, i, iterate);
  set_value(into.average[s].data(), of_x, i, taken_in);
  set_value(into.weights[s].data(), of_w, i, formula(iterate, taken_in, step.pull));
}

void expect_bytes(Tensors& tensors, const std::vector<std::vector<std::byte>>& expected,
                  const std::string& name) {
  tensors.download();
  for (std::size_t s = 0; s < expected.size(); ++s) {
    EXPECT_TRUE(same_bytes(name + ", segment " + std::to_string(s), tensors.spec(s).dtype,
                           expected[s], tensors.bytes(s)));
  }
  EXPECT_TRUE(tensors.guards_untouched());
}

/// Runs average_step and compares every byte, guards included.
void expect_step(Tensors& w, Tensors& z, Tensors& x, const AverageStep& step) {
  Expected expected;
  for (std::size_t s = 0; s < w.size(); ++s) {
    expected.weights.push_back(w.bytes(s));
    expected.iterate.push_back(z.bytes(s));
    expected.average.push_back(x.bytes(s));
    const bool float64 = w.spec(s).dtype == DType::kFloat64 || z.spec(s).dtype == DType::kFloat64 ||
                         x.spec(s).dtype == DType::kFloat64;
    for (std::int64_t i = 0; i < w.spec(s).length; ++i) {
      if (float64) {
        expect_element<double>(w, z, x, step, s, i, expected);
      } else {
        expect_element<float>(w, z, x, step, s, i, expected);
      }
    }
  }
  average_step(w.table(), z.table(), x.table(), step);
  expect_bytes(w, expected.weights, "weights");
  expect_bytes(z, expected.iterate, "iterate");
  expect_bytes(x, expected.average, "average");
}

TEST_P(AverageSteps, FollowTheFormulaForEveryMixOfDTypesAtEdgeLengths) {
  const std::uint64_t seed = 81;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<DType> single = {DType::kFloat32};
  const std::vector<DType> half = {DType::kBFloat16, DType::kFloat16};
  for (const auto& [of_weights, of_average] :
       {std::pair{single, single}, {half, single}, {kAll, kAll}, {kAll, half}}) {
    for (const std::int64_t shift : {0, 1}) {
      Tensors w(edge_specs(of_weights, shift), device());
      Tensors z(edge_specs(of_weights, 1), device());
      Tensors x(edge_specs(of_average, 2), device());
      for (Tensors* tensors : {&w, &z, &x}) tensors->randomize(random);
      expect_step(w, z, x, {0, 1, 0.8});
      for (int step = 2; step < 5; ++step) expect_step(w, z, x, {0.8, 1.0 / step, 0.8});
      expect_step(w, z, x, {0.8, 0, 1});
      expect_step(w, z, x, {1, 0.25, 0});
    }
  }
}

TEST_P(AverageSteps, AreTheReferenceUpToRounding) {
  const std::uint64_t seed = 83;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const double tolerance = dtype == DType::kFloat32 ? 1e-6 : 1e-14;
    std::mt19937_64 random(seed);
    Tensors w({{dtype, 1000}}, device()), z({{dtype, 1000}}, device()),
        x({{dtype, 1000}}, device());
    Tensors cpu_w({{dtype, 1000}}, {}), cpu_z({{dtype, 1000}}, {}), cpu_x({{dtype, 1000}}, {});
    for (const auto& [tensors, copy] : {std::pair{&w, &cpu_w}, {&z, &cpu_z}, {&x, &cpu_x}}) {
      tensors->randomize(random);
      for (std::int64_t i = 0; i < 1000; ++i) copy->set(0, i, tensors->get(0, i));
      copy->upload();
    }
    const AverageStep step = {0.8, 0.2, 0.7};
    const reference::AverageStepResult expected =
        reference::average_step(cpu_w.table(), cpu_z.table(), cpu_x.table(), 0, step);
    average_step(w.table(), z.table(), x.table(), step);
    for (Tensors* tensors : {&w, &z, &x}) tensors->download();
    for (std::size_t i = 0; i < 1000; ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const double scale = 1 + std::abs(expected.iterate[i]) + std::abs(expected.average[i]);
      EXPECT_NEAR(w.get(0, at), expected.weights[i], tolerance * scale) << i;
      EXPECT_NEAR(z.get(0, at), expected.iterate[i], tolerance * scale) << i;
      EXPECT_NEAR(x.get(0, at), expected.average[i], tolerance * scale) << i;
    }
  }
}

TEST_P(AverageSteps, LeaveTheIterateWhereTheWeightsWereLeft) {
  const std::uint64_t seed = 82;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  Tensors w(edge_specs(kAll, 0), device());
  Tensors z(edge_specs(kAll, 0), device());
  Tensors x(edge_specs({DType::kFloat32, DType::kFloat32, DType::kFloat32, DType::kFloat64}, 1),
            device());
  for (Tensors* tensors : {&w, &z, &x}) tensors->randomize(random);
  for (std::size_t s = 0; s < w.size(); ++s) {
    for (Tensors* tensors : {&w, &z, &x}) {
      if (w.spec(s).length > 0) tensors->set(s, 0, -0.0);
      tensors->upload();
    }
  }
  average_step(w.table(), z.table(), x.table(), {0.8, 0.5, 0.8});
  for (Tensors* tensors : {&w, &z}) tensors->download();
  std::vector<std::vector<std::byte>> placed, iterate;
  for (std::size_t s = 0; s < w.size(); ++s) {
    placed.push_back(w.bytes(s));
    iterate.push_back(z.bytes(s));
  }
  place_between(w.table(), z.table(), x.table(), 1);
  place_between(w.table(), z.table(), x.table(), 0.8);
  expect_bytes(w, placed, "weights that are placed again");
  average_step(w.table(), z.table(), x.table(), {0.8, 0.5, 0.8});
  expect_bytes(z, iterate, "iterate");
}

TEST_P(AverageSteps, KeepWhatIsNotFiniteToItsElement) {
  const std::vector<TensorSpec> specs = {{DType::kFloat32, 9}};
  Tensors w(specs, device()), z(specs, device()), x(specs, device());
  w.set(0, 3, std::numeric_limits<double>::quiet_NaN());
  w.set(0, 7, std::numeric_limits<double>::infinity());
  w.upload();
  average_step(w.table(), z.table(), x.table(), {0.8, 0.5, 0.8});
  for (Tensors* tensors : {&w, &z, &x}) tensors->download();
  for (std::int64_t i = 0; i < 9; ++i) {
    EXPECT_EQ(std::isfinite(w.get(0, i)), i != 3 && i != 7) << i;
    EXPECT_EQ(std::isnan(z.get(0, i)), i == 3) << i;
  }
}

TEST_P(AverageSteps, RefuseTablesAndSharesThatDoNotFit) {
  Tensors w({{DType::kFloat32, 8}}, device());
  Tensors shorter({{DType::kFloat32, 7}}, device());
  Tensors bytes({{DType::kBytes, 8}}, device());
  EXPECT_THROW(average_step(w.table(), shorter.table(), w.table(), {}), ContractError);
  EXPECT_THROW(average_step(w.table(), w.table(), shorter.table(), {}), ContractError);
  EXPECT_THROW(average_step(w.table(), bytes.table(), w.table(), {}), ContractError);
  for (const double share : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THROW(average_step(w.table(), w.table(), w.table(), {share, 0, 0}), ContractError);
    EXPECT_THROW(average_step(w.table(), w.table(), w.table(), {0, share, 0}), ContractError);
    EXPECT_THROW(place_between(w.table(), w.table(), w.table(), share), ContractError);
  }
}

}  // namespace
}  // namespace leapverify::kernels::testing

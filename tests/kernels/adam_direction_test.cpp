// adam_direction against its formula, bitwise where it promises that, on both devices.
#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/reference.h>

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

class AdamDirection : public DeviceTest {};
LV_INSTANTIATE_FOR_DEVICES(AdamDirection);

const double kInfinity = std::numeric_limits<double>::infinity();

template <typename Sum>
double formula(const AdamRow& row, double weight, double m, const double* v) {
  Sum direction = static_cast<Sum>(m);
  if (v != nullptr) {
    direction /= std::fma(static_cast<Sum>(row.root_scale), std::sqrt(static_cast<Sum>(*v)),
                          static_cast<Sum>(row.epsilon));
  }
  const Sum kept = static_cast<Sum>(row.keep) * static_cast<Sum>(weight);
  return std::fma(-static_cast<Sum>(row.step), direction, kept);
}

/// Normal values; exp_avg_sq squared.
void randomize_moments(Tensors& exp_avg, Tensors* exp_avg_sq, std::mt19937_64& random) {
  exp_avg.randomize(random);
  if (exp_avg_sq == nullptr) {
    return;
  }
  exp_avg_sq->randomize(random);
  for (std::size_t s = 0; s < exp_avg_sq->size(); ++s) {
    for (std::int64_t i = 0; i < exp_avg_sq->spec(s).length; ++i) {
      exp_avg_sq->set(s, i, std::pow(exp_avg_sq->get(s, i), 2));
    }
  }
  exp_avg_sq->upload();
}

/// Runs adam_direction and compares every byte, guards included.
void expect_direction(Tensors& destination, Tensors& weights, Tensors& exp_avg, Tensors* exp_avg_sq,
                      const std::vector<AdamRow>& rows,
                      const std::vector<std::int32_t>& row_of_segment, Device device) {
  std::vector<std::vector<std::byte>> expected;
  for (std::size_t s = 0; s < destination.size(); ++s) {
    const DType dtype = destination.spec(s).dtype;
    const bool float64 = dtype == DType::kFloat64 || weights.spec(s).dtype == DType::kFloat64 ||
                         exp_avg.spec(s).dtype == DType::kFloat64 ||
                         (exp_avg_sq != nullptr && exp_avg_sq->spec(s).dtype == DType::kFloat64);
    const AdamRow& row =
        rows[row_of_segment.empty() ? 0 : static_cast<std::size_t>(row_of_segment[s])];
    std::vector<std::byte> bytes(destination.byte_count(s));
    for (std::int64_t i = 0; i < destination.spec(s).length; ++i) {
      const double v = exp_avg_sq == nullptr ? 0.0 : exp_avg_sq->get(s, i);
      const double* second = exp_avg_sq == nullptr ? nullptr : &v;
      const double weight = weights.get(s, i);
      const double m = exp_avg.get(s, i);
      set_value(bytes.data(), dtype, i,
                float64 ? formula<double>(row, weight, m, second)
                        : formula<float>(row, weight, m, second));
    }
    expected.push_back(bytes);
  }
  const DeviceArray<AdamRow> values(rows, device);
  const DeviceArray<std::int32_t> map(row_of_segment, device);
  const AdamRows table = {values.data(), static_cast<std::int64_t>(rows.size()),
                          row_of_segment.empty() ? nullptr : map.data()};
  adam_direction(destination.table(), weights.table(), exp_avg.table(),
                 exp_avg_sq == nullptr ? nullptr : &exp_avg_sq->table(), table);
  destination.download();
  for (std::size_t s = 0; s < expected.size(); ++s) {
    EXPECT_TRUE(same_bytes("segment " + std::to_string(s), destination.spec(s).dtype, expected[s],
                           destination.bytes(s)));
  }
  EXPECT_TRUE(destination.guards_untouched());
}

const std::vector<DType> kAll(std::begin(kFloatingDTypes), std::end(kFloatingDTypes));

TEST_P(AdamDirection, FollowsTheFormulaForEveryMixOfDTypesAtEdgeLengths) {
  const std::uint64_t seed = 71;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<DType> single = {DType::kFloat32};
  const std::vector<DType> half = {DType::kBFloat16, DType::kFloat16};
  const AdamRow row = AdamRow::adam(25, 3e-3, 0.9, 0.95, 1e-8, 0.1, 40);
  for (const auto& dtypes : {single, half, kAll}) {
    for (const std::int64_t shift : {0, 1}) {
      Tensors destination(edge_specs(dtypes, shift), device());
      Tensors weights(edge_specs(dtypes, 1), device());
      Tensors exp_avg(edge_specs(single, shift), device());
      Tensors exp_avg_sq(edge_specs(half, 2), device());
      weights.randomize(random);
      randomize_moments(exp_avg, &exp_avg_sq, random);
      expect_direction(destination, weights, exp_avg, &exp_avg_sq, {row}, {}, device());
      expect_direction(destination, weights, exp_avg, nullptr, {row}, {}, device());
    }
  }
}

TEST_P(AdamDirection, UsesTheRowOfEachSegment) {
  const std::uint64_t seed = 72;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<TensorSpec> specs = {{DType::kFloat32, kChunkElements + 9},
                                         {DType::kFloat32, 0},
                                         {DType::kFloat64, 33},
                                         {DType::kBFloat16, 5}};
  Tensors destination(specs, device());
  Tensors weights(specs, device());
  Tensors exp_avg(specs, device());
  Tensors exp_avg_sq(specs, device());
  weights.randomize(random);
  randomize_moments(exp_avg, &exp_avg_sq, random);
  const std::vector<AdamRow> rows = {AdamRow::adam(5, 1e-2, 0.9, 0.999, 1e-8, 0, 3),
                                     AdamRow::adam(50, 1e-3, 0.8, 0.9, 1e-6, 0.5, 300)};
  expect_direction(destination, weights, exp_avg, &exp_avg_sq, rows, {1, 0, 1, 0}, device());
}

TEST_P(AdamDirection, MayWriteToItsInputs) {
  const std::uint64_t seed = 73;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  Tensors weights(edge_specs(kAll, 0), device());
  Tensors exp_avg(edge_specs({DType::kFloat32}, 1), device());
  Tensors exp_avg_sq(edge_specs({DType::kFloat32}, 0), device());
  weights.randomize(random);
  randomize_moments(exp_avg, &exp_avg_sq, random);
  const AdamRow row = AdamRow::adam(10, 1e-2, 0.9, 0.999, 1e-8, 0.01, 7);
  expect_direction(weights, weights, exp_avg, &exp_avg_sq, {row}, {}, device());
  expect_direction(exp_avg, weights, exp_avg, &exp_avg_sq, {row}, {}, device());
}

TEST_P(AdamDirection, ExtrapolatesByTheHorizon) {
  // With constant moments every step of Adam is the same, so K steps are K times one.
  Tensors weights({{DType::kFloat64, 1}}, device());
  Tensors exp_avg({{DType::kFloat64, 1}}, device());
  Tensors exp_avg_sq({{DType::kFloat64, 1}}, device());
  Tensors destination({{DType::kFloat64, 1}}, device());
  weights.set(0, 0, 2.0);
  exp_avg.set(0, 0, 0.3);
  exp_avg_sq.set(0, 0, 0.04);
  for (Tensors* tensors : {&weights, &exp_avg, &exp_avg_sq}) {
    tensors->upload();
  }
  const double lr = 0.01, beta1 = 0.9, beta2 = 0.99, epsilon = 1e-3;
  const double m = 0.3 / (1 - std::pow(beta1, 5));
  const double v = 0.04 / (1 - std::pow(beta2, 5));
  const DeviceArray<AdamRow> row({AdamRow::adam(7, lr, beta1, beta2, epsilon, 0.1, 5)}, device());
  adam_direction(destination.table(), weights.table(), exp_avg.table(), &exp_avg_sq.table(),
                 {row.data()});
  destination.download();
  EXPECT_NEAR(destination.get(0, 0),
              2.0 * std::pow(1 - lr * 0.1, 7) - 7 * lr * m / (std::sqrt(v) + epsilon), 1e-14);

  const DeviceArray<AdamRow> sgd({AdamRow::sgd_momentum(7, lr)}, device());
  adam_direction(destination.table(), weights.table(), exp_avg.table(), nullptr, {sgd.data()});
  destination.download();
  EXPECT_NEAR(destination.get(0, 0), 2.0 - 7 * lr * 0.3, 1e-14);
}

TEST_P(AdamDirection, Float16MomentsLoseTheSecondMomentAndExplode) {
  // After gradient clipping v is often below float16's smallest number: the published artefact.
  for (const DType dtype : {DType::kFloat32, DType::kFloat16}) {
    Tensors weights({{DType::kFloat32, 1}}, device());
    Tensors exp_avg({{dtype, 1}}, device());
    Tensors exp_avg_sq({{dtype, 1}}, device());
    Tensors destination({{DType::kFloat32, 1}}, device());
    exp_avg.set(0, 0, 1e-4);
    exp_avg_sq.set(0, 0, 1e-8);
    exp_avg.upload();
    exp_avg_sq.upload();
    const DeviceArray<AdamRow> row({AdamRow::adam(5, 1e-3, 0.9, 0.999, 1e-8, 0, 1000)}, device());
    adam_direction(destination.table(), weights.table(), exp_avg.table(), &exp_avg_sq.table(),
                   {row.data()});
    destination.download();
    if (dtype == DType::kFloat32) {
      EXPECT_NEAR(destination.get(0, 0), -5e-3, 2e-3);
    } else {
      EXPECT_LT(destination.get(0, 0), -10);
    }
  }
}

TEST_P(AdamDirection, CountsResultsThatAreNotFinite) {
  const std::int64_t length = kChunkElements + 5;
  Tensors weights({{DType::kFloat32, length}, {DType::kFloat32, 3}}, device());
  Tensors exp_avg({{DType::kFloat32, length}, {DType::kFloat32, 3}}, device());
  Tensors exp_avg_sq({{DType::kFloat32, length}, {DType::kFloat32, 3}}, device());
  weights.set(0, length - 1, kInfinity);
  exp_avg.set(1, 2, std::nan(""));
  exp_avg_sq.set(0, 3, -1.0);  // no second moment is negative; the root says so
  exp_avg.set(0, 9, 1.0);      // 1 / 0 without an epsilon
  for (Tensors* tensors : {&weights, &exp_avg, &exp_avg_sq}) {
    tensors->upload();
  }
  AdamRow row;
  row.step = 1.0;
  row.epsilon = 1e-8;
  const DeviceArray<AdamRow> with_epsilon({row}, device());
  row.epsilon = 0.0;
  const DeviceArray<AdamRow> without({row}, device());
  Tensors destination({{DType::kFloat32, length}, {DType::kFloat32, 3}}, device());
  const DeviceArray<std::uint64_t> counter({5}, device());
  adam_direction(destination.table(), weights.table(), exp_avg.table(), &exp_avg_sq.table(),
                 {with_epsilon.data()}, counter.data());
  EXPECT_EQ(counter.download()[0], 5u + 3u);
  adam_direction(destination.table(), weights.table(), exp_avg.table(), &exp_avg_sq.table(),
                 {without.data()}, counter.data());
  // Everywhere 0 / 0 but for the one above zero.
  EXPECT_EQ(counter.download()[0], 5u + 3u + static_cast<std::uint64_t>(length) + 3u);
}

TEST_P(AdamDirection, DoesNothingForEmptyLists) {
  const DeviceArray<AdamRow> row({AdamRow()}, device());
  Tensors none({}, device());
  adam_direction(none.table(), none.table(), none.table(), &none.table(), {row.data()});
  Tensors empty({{DType::kFloat32, 0}}, device());
  adam_direction(empty.table(), empty.table(), empty.table(), nullptr, {row.data()});
  empty.download();
  EXPECT_TRUE(empty.guards_untouched());
}

TEST_P(AdamDirection, RefusesWhatDoesNotFit) {
  Tensors five({{DType::kFloat32, 5}}, device());
  Tensors six({{DType::kFloat32, 6}}, device());
  Tensors bytes({{DType::kBytes, 5}}, device());
  const DeviceArray<AdamRow> row({AdamRow()}, device());
  const auto run = [&](Tensors& d, Tensors& w, Tensors& m, Tensors& v, const AdamRows& rows) {
    adam_direction(d.table(), w.table(), m.table(), &v.table(), rows);
  };
  EXPECT_REFUSED(run(bytes, five, five, five, {row.data()}), "destination has dtype bytes");
  EXPECT_REFUSED(run(five, bytes, five, five, {row.data()}), "weights has dtype bytes");
  EXPECT_REFUSED(run(five, five, bytes, five, {row.data()}), "exp_avg has dtype bytes");
  EXPECT_REFUSED(run(five, five, five, bytes, {row.data()}), "exp_avg_sq has dtype bytes");
  EXPECT_REFUSED(run(five, six, five, five, {row.data()}),
                 "weights has length 6 in segment 0, destination has 5");
  EXPECT_REFUSED(run(five, five, six, five, {row.data()}), "exp_avg has length 6");
  EXPECT_REFUSED(run(five, five, five, six, {row.data()}), "exp_avg_sq has length 6");
  EXPECT_REFUSED(run(five, five, five, five, {}), "rows are null");
  EXPECT_REFUSED(run(five, five, five, five, {row.data(), 0}), "0 rows, expected 1 or more");
}

TEST(AdamDirectionOnCpu, RefusesRowsOutOfRange) {
  Tensors five({{DType::kFloat32, 5}}, {});
  const AdamRow row;
  const std::int32_t index = -1;
  EXPECT_REFUSED(
      adam_direction(five.table(), five.table(), five.table(), nullptr, {&row, 1, &index}),
      "segment 0 has coefficient row -1, expected 0 to 0");
}

TEST(AdamRow, RefusesWhatHasNoMeaning) {
  EXPECT_REFUSED(AdamRow::adam(-1, 1e-3, 0.9, 0.999, 1e-8, 0, 1), "horizon -1");
  EXPECT_REFUSED(AdamRow::adam(1, 1e-3, 1.0, 0.999, 1e-8, 0, 1), "betas 1 and 0.999");
  EXPECT_REFUSED(AdamRow::adam(1, 1e-3, 0.9, -0.1, 1e-8, 0, 1), "betas 0.9 and -0.1");
  EXPECT_REFUSED(AdamRow::adam(1, 1e-3, 0.9, 0.999, 1e-8, 0, 0), "0 steps done");
  EXPECT_REFUSED(AdamRow::adam(1, 2.0, 0.9, 0.999, 1e-8, 0.5, 1), "lr 2 times weight decay 0.5");
  EXPECT_REFUSED(AdamRow::adam(1, 1e-3, 0.9, 0.999, -1e-8, 0, 1), "epsilon -1e-08");
  EXPECT_REFUSED(AdamRow::sgd_momentum(-2, 1e-3), "horizon -2");
}

TEST(AdamDirectionOnBothDevices, AgreesBitwise_cuda) {
  if (!cuda_available()) {
    GTEST_SKIP() << "no CUDA device";
  }
  const std::uint64_t seed = 74;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::vector<std::vector<std::byte>> results[2];
  for (const DeviceKind kind : {DeviceKind::kCpu, DeviceKind::kCuda}) {
    std::mt19937_64 random(seed);
    const Device on = {kind, 0};
    Tensors weights(edge_specs(kAll, 0), on);
    Tensors exp_avg(edge_specs({DType::kFloat32, DType::kFloat16}, 1), on);
    Tensors exp_avg_sq(edge_specs({DType::kFloat32}, 2), on);
    Tensors destination(edge_specs({DType::kBFloat16, DType::kFloat32}, 2), on);
    weights.randomize(random);
    randomize_moments(exp_avg, &exp_avg_sq, random);
    const DeviceArray<AdamRow> row({AdamRow::adam(25, 3e-3, 0.9, 0.95, 1e-8, 0.1, 40)}, on);
    adam_direction(destination.table(), weights.table(), exp_avg.table(), &exp_avg_sq.table(),
                   {row.data()});
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

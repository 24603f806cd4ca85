// cosine against sums in long double, on both devices.
#include <leapverify/kernels/cosine.h>

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

class Cosine : public DeviceTest {
 protected:
  /// The cosines of segment 0 of two lists, read as matrices.
  std::vector<double> cosines_of(const Tensors& a, const Tensors& b, std::int64_t rows,
                                 std::int64_t columns) {
    const DeviceArray<double> cosines(std::vector<double>(static_cast<std::size_t>(rows) + 1, 77.0),
                                      device());
    cosine(view(a, rows, columns), view(b, rows, columns), cosines.data(), device());
    std::vector<double> result = cosines.download();
    EXPECT_EQ(result.back(), 77.0) << "written past the end";
    result.pop_back();
    return result;
  }

  static MatrixView view(const Tensors& tensors, std::int64_t rows, std::int64_t columns) {
    return {tensors.table().segments()[0].data, rows, columns, tensors.spec(0).dtype};
  }

  double cosine_of_rows(const std::vector<double>& a, const std::vector<double>& b) {
    const auto columns = static_cast<std::int64_t>(a.size());
    Tensors x({{DType::kFloat64, columns}}, device());
    Tensors y({{DType::kFloat64, columns}}, device());
    for (std::size_t i = 0; i < a.size(); ++i) {
      x.set(0, static_cast<std::int64_t>(i), a[i]);
      y.set(0, static_cast<std::int64_t>(i), b[i]);
    }
    x.upload();
    y.upload();
    return cosines_of(x, y, 1, columns)[0];
  }
};
LV_INSTANTIATE_FOR_DEVICES(Cosine);

const double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST_P(Cosine, MatchesLongDoubleForEveryPairOfDTypes) {
  const std::uint64_t seed = 41;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const std::int64_t columns : {1, 2, 15, 257, 1024, 2050}) {
    const std::int64_t rows = 3;
    for (const DType from : kFloatingDTypes) {
      for (const DType to : kFloatingDTypes) {
        Tensors a({{from, rows * columns, 1}}, device());
        Tensors b({{to, rows * columns}}, device());
        a.randomize(random);
        b.randomize(random);
        std::vector<double> expected;
        for (std::int64_t row = 0; row < rows; ++row) {
          long double ab = 0;
          long double aa = 0;
          long double bb = 0;
          for (std::int64_t i = row * columns; i < (row + 1) * columns; ++i) {
            const long double x = a.get(0, i);
            const long double y = b.get(0, i);
            ab += x * y;
            aa += x * x;
            bb += y * y;
          }
          expected.push_back(static_cast<double>(ab / std::sqrt(aa * bb)));
        }
        EXPECT_TRUE(all_near("cosines", expected, cosines_of(a, b, rows, columns),
                             std::vector<double>(3, 1e-14)));
      }
    }
  }
}

TEST_P(Cosine, IsOneForEqualAndMinusOneForOppositeRows) {
  EXPECT_NEAR(cosine_of_rows({3, 4, 12}, {6, 8, 24}), 1.0, 1e-15);
  EXPECT_NEAR(cosine_of_rows({3, 4, 12}, {-3, -4, -12}), -1.0, 1e-15);
  EXPECT_EQ(cosine_of_rows({1, 0}, {0, 5}), 0.0);
}

TEST_P(Cosine, NeverLeavesMinusOneToOne) {
  const std::uint64_t seed = 42;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  Tensors a({{DType::kFloat32, 500 * 7}}, device());
  a.randomize(random);
  for (const double c : cosines_of(a, a, 500, 7)) {
    EXPECT_LE(c, 1.0);
    EXPECT_GE(c, 1.0 - 1e-15);
  }
}

TEST_P(Cosine, IsZeroForRowsOfZerosAndForNoColumns) {
  EXPECT_EQ(cosine_of_rows({0, 0}, {1, 2}), 0.0);
  EXPECT_EQ(cosine_of_rows({1, 2}, {0, -0.0}), 0.0);
  EXPECT_EQ(cosine_of_rows({0, 0}, {0, 0}), 0.0);
  Tensors empty({{DType::kFloat32, 0}}, device());
  EXPECT_EQ(cosines_of(empty, empty, 3, 0), (std::vector<double>{0, 0, 0}));
}

TEST_P(Cosine, IsNaNWhereAValueIsNaNOrInfinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(std::isnan(cosine_of_rows({kNaN, 1}, {1, 2})));
  EXPECT_TRUE(std::isnan(cosine_of_rows({1, 2}, {1, kNaN})));
  EXPECT_TRUE(std::isnan(cosine_of_rows({0, 0}, {1, kNaN})));
  EXPECT_TRUE(std::isnan(cosine_of_rows({infinity, 1}, {1, 2})));
}

TEST_P(Cosine, DoesNothingWithoutRows) {
  cosine({nullptr, 0, 5}, {nullptr, 0, 5}, nullptr, device());
}

TEST_P(Cosine, RefusesWhatDoesNotFit) {
  Tensors six({{DType::kFloat32, 6}}, device());
  const DeviceArray<double> cosines({0, 0, 0}, device());
  const MatrixView good = view(six, 2, 3);
  MatrixView bad = good;
  bad.columns = 2;
  EXPECT_REFUSED(cosine(good, bad, cosines.data(), device()), "b is [2 × 2], a is [2 × 3]");
  bad = good;
  bad.rows = -1;
  EXPECT_REFUSED(cosine(bad, good, cosines.data(), device()), "a is [-1 × 3]");
  bad = good;
  bad.dtype = DType::kBytes;
  EXPECT_REFUSED(cosine(good, bad, cosines.data(), device()), "b has dtype bytes");
  bad = good;
  bad.data = nullptr;
  EXPECT_REFUSED(cosine(bad, good, cosines.data(), device()), "a of [2 × 3] has a null pointer");
  bad.data = reinterpret_cast<const void*>(std::uintptr_t{6});
  EXPECT_REFUSED(cosine(bad, good, cosines.data(), device()), "a at 0x6 is not aligned");
  EXPECT_REFUSED(cosine(good, good, nullptr, device()), "cosines of 2 rows are null");
}

}  // namespace
}  // namespace leapverify::kernels::testing

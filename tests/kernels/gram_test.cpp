// gram against sums in long double, on both devices.
#include <leapverify/kernels/gram.h>

#include <gmock/gmock.h>

#include <cmath>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

class Gram : public DeviceTest {
 protected:
  static std::vector<double> gram_of(const std::vector<Tensors*>& sources,
                                     const Tensors* reference) {
    std::vector<const SegmentTable*> tables;
    for (const Tensors* source : sources) {
      tables.push_back(&source->table());
    }
    const SegmentTable& first = *tables.front();
    const std::size_t entries = first.segments().size() * tables.size() * tables.size();
    const auto scratch =
        static_cast<std::size_t>(gram_workspace(first, static_cast<int>(tables.size())));
    const DeviceArray<double> result(std::vector<double>(entries + 1, 77.0), device());
    const DeviceArray<double> workspace(std::vector<double>(scratch + 1, 77.0), device());
    gram(tables, reference == nullptr ? nullptr : &reference->table(), result.data(),
         workspace.data());
    std::vector<double> values = result.download();
    EXPECT_EQ(values.back(), 77.0) << "written past the end of gram";
    EXPECT_EQ(workspace.download().back(), 77.0) << "written past the end of workspace";
    values.pop_back();
    return values;
  }

  /// Compares with long double; the error allowed is that of summing in float64.
  static void expect_gram(const std::vector<Tensors*>& sources, Tensors* reference) {
    std::vector<double> expected;
    std::vector<double> tolerance;
    for (std::size_t s = 0; s < sources[0]->size(); ++s) {
      for (Tensors* a : sources) {
        for (Tensors* b : sources) {
          long double sum = 0;
          long double magnitude = 0;
          for (std::int64_t i = 0; i < a->spec(s).length; ++i) {
            const long double r = reference == nullptr ? 0 : reference->get(s, i);
            const long double product = (a->get(s, i) - r) * (b->get(s, i) - r);
            sum += product;
            magnitude += std::abs(product);
          }
          expected.push_back(static_cast<double>(sum));
          tolerance.push_back(static_cast<double>(magnitude) * 1e-13);
        }
      }
    }
    EXPECT_TRUE(all_near("gram", expected, gram_of(sources, reference), tolerance));
  }
};
LV_INSTANTIATE_FOR_DEVICES(Gram);

TEST_P(Gram, MatchesLongDoubleForEveryNumberOfSources) {
  const std::uint64_t seed = 51;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::vector<std::unique_ptr<Tensors>> owned;
  std::vector<Tensors*> sources;
  const std::vector<std::int64_t> lengths = {0, 1, 3, 130, 1025, kChunkElements + 5};
  const auto specs = [&](int k) {
    std::vector<TensorSpec> list;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      list.push_back({kFloatingDTypes[(s + static_cast<std::size_t>(k)) % 4], lengths[s], k % 3});
    }
    return list;
  };
  Tensors reference(specs(2), device());
  reference.randomize(random);
  for (int k = 0; k < 32; ++k) {
    owned.push_back(std::make_unique<Tensors>(specs(k), device()));
    owned.back()->randomize(random);
    sources.push_back(owned.back().get());
    if (k < 9 || k == 12 || k == 20 || k == 31) {
      SCOPED_TRACE(::testing::Message() << k + 1 << " sources");
      expect_gram(sources, k % 2 == 0 ? nullptr : &reference);
    }
  }
}

TEST_P(Gram, AddsUpManyChunks) {
  const std::uint64_t seed = 52;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  Tensors a(edge_specs({DType::kFloat32, DType::kFloat16}, 0), device());
  Tensors b(edge_specs({DType::kBFloat16, DType::kFloat32}, 1), device());
  a.randomize(random);
  b.randomize(random);
  expect_gram({&a, &b}, nullptr);
  expect_gram({&a, &b, &a}, &b);
}

TEST_P(Gram, KeepsSmallDifferencesOfLargeWeights) {
  const std::uint64_t seed = 53;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  const std::int64_t length = 5000;
  Tensors reference({{DType::kFloat64, length}}, device());
  Tensors near({{DType::kFloat64, length}}, device());
  long double expected = 0;
  for (std::int64_t i = 0; i < length; ++i) {
    reference.set(0, i, 1000.0 + normal(random));
    near.set(0, i, reference.get(0, i) + 1e-9 * normal(random));
    const long double difference = static_cast<long double>(near.get(0, i)) - reference.get(0, i);
    expected += difference * difference;
  }
  reference.upload();
  near.upload();
  const std::vector<double> direct = gram_of({&near}, &reference);
  EXPECT_NEAR(direct[0] / static_cast<double>(expected), 1.0, 1e-12);
  // The detour over plain inner products loses everything: this is what the reference is for.
  const std::vector<double> plain = gram_of({&near, &reference}, nullptr);
  const double detour = plain[0] - 2.0 * plain[1] + plain[3];
  EXPECT_GT(std::abs(detour / static_cast<double>(expected) - 1.0), 0.5);
}

TEST_P(Gram, IsSymmetricAndRepeatsItselfBitwise) {
  const std::uint64_t seed = 54;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  Tensors a({{DType::kFloat32, 3 * kChunkElements + 1}}, device());
  Tensors b({{DType::kFloat32, 3 * kChunkElements + 1}}, device());
  Tensors c({{DType::kFloat16, 3 * kChunkElements + 1}}, device());
  for (Tensors* tensors : {&a, &b, &c}) {
    tensors->randomize(random);
  }
  const std::vector<double> first = gram_of({&a, &b, &c}, nullptr);
  EXPECT_EQ(first, gram_of({&a, &b, &c}, nullptr));
  for (std::size_t j = 0; j < 3; ++j) {
    for (std::size_t k = 0; k < 3; ++k) {
      EXPECT_EQ(first[3 * j + k], first[3 * k + j]);
    }
  }
}

TEST_P(Gram, ConfinesNaNToItsOwnSource) {
  Tensors bad({{DType::kFloat32, 100}}, device());
  Tensors good({{DType::kFloat32, 100}}, device());
  for (std::int64_t i = 0; i < 100; ++i) {
    bad.set(0, i, i == 50 ? std::nan("") : 1.0);
    good.set(0, i, 2.0);
  }
  bad.upload();
  good.upload();
  const std::vector<double> result = gram_of({&good, &bad}, nullptr);
  EXPECT_EQ(result[0], 400.0);
  EXPECT_TRUE(std::isnan(result[1]));
  EXPECT_TRUE(std::isnan(result[3]));
}

TEST_P(Gram, OfNothingIsZero) {
  Tensors nothing({}, device());
  EXPECT_TRUE(gram_of({&nothing}, nullptr).empty());
  Tensors empty({{DType::kFloat32, 0}, {DType::kFloat16, 0}}, device());
  EXPECT_EQ(gram_of({&empty, &empty}, &empty), std::vector<double>(8, 0.0));
}

TEST_P(Gram, RefusesWhatDoesNotFit) {
  Tensors five({{DType::kFloat32, 5}}, device());
  Tensors six({{DType::kFloat32, 6}}, device());
  Tensors bytes({{DType::kBytes, 5}}, device());
  const DeviceArray<double> memory({0, 0, 0, 0}, device());
  double* const m = memory.data();
  EXPECT_REFUSED(gram_workspace(five.table(), 0), "0 sources, expected 1 to 32");
  EXPECT_REFUSED(gram_workspace(five.table(), 33), "33 sources, expected 1 to 32");
  EXPECT_REFUSED(gram({}, nullptr, m, m), "0 sources, expected 1 to 32");
  EXPECT_REFUSED(gram({&five.table(), &six.table()}, nullptr, m, m),
                 "source 1 has length 6 in segment 0, source 0 has 5");
  EXPECT_REFUSED(gram({&five.table()}, &six.table(), m, m),
                 "reference has length 6 in segment 0, source 0 has 5");
  EXPECT_REFUSED(gram({&bytes.table()}, nullptr, m, m), "source 0 has dtype bytes");
  EXPECT_REFUSED(gram({&five.table()}, &bytes.table(), m, m), "reference has dtype bytes");
  EXPECT_REFUSED(gram({nullptr}, nullptr, m, m), "source 0 is null");
  EXPECT_REFUSED(gram({&five.table()}, nullptr, nullptr, m), "gram of 1 segments is null");
  EXPECT_REFUSED(gram({&five.table()}, nullptr, m, nullptr), "workspace for 5 elements is null");
}

TEST(GramWorkspace, HoldsOnePartialSumPerChunkAndPair) {
  Tensors tensors({{DType::kFloat32, kChunkElements + 1}, {DType::kFloat32, 1}}, {});
  EXPECT_EQ(gram_workspace(tensors.table(), 1), 3);
  EXPECT_EQ(gram_workspace(tensors.table(), 4), 30);
}

}  // namespace
}  // namespace leapverify::kernels::testing

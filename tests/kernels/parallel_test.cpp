// The CPU versions on several threads and past the caches: the same bytes as on one thread.
#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/average_step.h>
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/copy.h>
#include <leapverify/kernels/cosine.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/kernels/parallel.h>
#include <leapverify/kernels/reference.h>
#include <leapverify/kernels/sample.h>
#include <leapverify/kernels/streaming_store.h>

#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <numeric>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

/// Sets how many threads OpenMP may use, for the life of the object.
class Threads {
 public:
  explicit Threads([[maybe_unused]] int count) {
#ifdef _OPENMP
    before_ = omp_get_max_threads();
    omp_set_num_threads(count);
#endif
  }
  ~Threads() {
#ifdef _OPENMP
    omp_set_num_threads(before_);
#endif
  }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  [[maybe_unused]] int before_ = 1;
};

TEST(Parallel, EveryTaskIsDoneOnceWhateverTheThreads) {
  for (const int threads : {1, 2, 3, 7}) {
    const Threads guard(threads);
    for (const std::int64_t tasks : {0, 1, 2, 5, 1000}) {
      std::vector<std::atomic<int>> done(static_cast<std::size_t>(tasks));
      const std::uint64_t sum = parallel_sum(tasks, tasks * kElementsPerThread, [&](auto task) {
        ++done[static_cast<std::size_t>(task)];
        return static_cast<std::uint64_t>(task);
      });
      EXPECT_EQ(sum, static_cast<std::uint64_t>(tasks * (tasks - 1) / 2));
      for (const auto& count : done) {
        EXPECT_EQ(count, 1);
      }
    }
  }
}

#ifdef _OPENMP
TEST(Parallel, UsesTheThreadsItMay) {
  const Threads guard(3);
  std::atomic<int> most{0};
  parallel_sum(100, 100 * kElementsPerThread, [&](std::int64_t) -> std::uint64_t {
    most = std::max(most.load(), omp_get_num_threads());
    return 0;
  });
  EXPECT_EQ(most, 3);
}

TEST(Parallel, LeavesSmallWorkToOneThread) {
  const Threads guard(3);
  parallel_sum(100, kElementsPerThread, [&](std::int64_t) -> std::uint64_t {
    EXPECT_EQ(omp_get_num_threads(), 1);
    return 0;
  });
}
#endif

/// Shapes with many chunks and tiny tensors between; `elements` in all, or a few more.
std::vector<TensorSpec> mixed_specs(std::int64_t elements, const std::vector<DType>& dtypes) {
  std::vector<TensorSpec> specs;
  for (std::int64_t s = 0; elements > 0; ++s) {
    const std::int64_t length = s % 3 == 2 ? s % 7 : 3 * kChunkElements + 11 * s + 5;
    specs.push_back({dtypes[static_cast<std::size_t>(s) % dtypes.size()], length, s % 3});
    elements -= length;
  }
  return specs;
}

/// Every byte and number that the kernels give for one list of tensors.
struct Results {
  std::vector<std::byte> bytes;
  std::vector<double> numbers;
  std::vector<std::uint64_t> counts;

  bool operator==(const Results& other) const {
    return bytes == other.bytes && counts == other.counts &&
           std::memcmp(numbers.data(), other.numbers.data(), 8 * numbers.size()) == 0;
  }
};

Results run_everything(int threads) {
  const Threads guard(threads);
  std::mt19937_64 random(81);
  const std::vector<DType> dtypes = {DType::kFloat32, DType::kBFloat16, DType::kFloat16,
                                     DType::kFloat64, DType::kFloat32};
  Tensors a(mixed_specs(600000, dtypes), {});
  Tensors b(mixed_specs(600000, {DType::kFloat32}), {});
  Tensors destination(mixed_specs(600000, {DType::kFloat16, DType::kFloat32}), {});
  Tensors copied(mixed_specs(600000, dtypes), {});
  a.randomize(random);
  b.randomize(random);
  a.set(0, 17, std::numeric_limits<double>::infinity());
  a.upload();
  Results results;
  const auto keep = [&results](Tensors& tensors) {
    tensors.download();
    EXPECT_TRUE(tensors.guards_untouched());
    for (std::size_t s = 0; s < tensors.size(); ++s) {
      const auto bytes = tensors.bytes(s);
      results.bytes.insert(results.bytes.end(), bytes.begin(), bytes.end());
    }
  };
  const std::vector<double> coefficients = {0.3, -0.7};
  std::uint64_t count = 0;
  combine(destination.table(), {&a.table(), &b.table()}, {coefficients.data()}, &count);
  keep(destination);
  results.counts.push_back(count);
  const AdamRow row = AdamRow::adam(10, 1e-3, 0.9, 0.999, 1e-8, 0.1, 7);
  adam_direction(destination.table(), b.table(), a.table(), &b.table(), {&row}, &count);
  keep(destination);
  results.counts.push_back(count);
  copy(copied.table(), a.table());
  keep(copied);
  checksum(a.table(), &count);
  results.counts.push_back(count);
  results.numbers.resize(4 * a.size() + 50);
  std::vector<double> workspace(static_cast<std::size_t>(gram_workspace(a.table(), 2)));
  gram({&a.table(), &b.table()}, nullptr, results.numbers.data(), workspace.data());
  const MatrixView x = {b.table().segments()[0].data, 50, 983, DType::kFloat32};
  const MatrixView y = {b.table().segments()[1].data, 50, 983, DType::kFloat32};
  cosine(x, y, results.numbers.data() + 4 * a.size(), {});
  average_step(a.table(), b.table(), destination.table(), {0.8, 0.3, 0.8});
  for (Tensors* tensors : {&a, &b, &destination}) keep(*tensors);
  sample(copied.table(), b.table(), {1, 0.9, 0.1});
  keep(copied);
  return results;
}

TEST(Parallel, NoResultDependsOnTheNumberOfThreads) {
  const Results expected = run_everything(1);
  EXPECT_EQ(expected.counts[0], 1u);
  for (const int threads : {2, 3, 5, 2}) {
    EXPECT_TRUE(expected == run_everything(threads)) << threads << " threads";
  }
}

TEST(StreamingStore, WritesJustTheBytesItShould) {
  std::vector<unsigned char> source(700);
  std::iota(source.begin(), source.end(), static_cast<unsigned char>(1));
  for (std::size_t offset = 0; offset < 70; ++offset) {
    for (const std::size_t bytes : {0, 1, 15, 63, 64, 65, 127, 128, 300, 517}) {
      alignas(64) unsigned char memory[700];
      std::memset(memory, 0xa5, sizeof memory);
      store_streaming(memory + offset, source.data() + offset % 5, bytes);
      end_streaming();
      for (std::size_t i = 0; i < sizeof memory; ++i) {
        const bool inside = i >= offset && i < offset + bytes;
        ASSERT_EQ(memory[i], inside ? source[offset % 5 + i - offset] : 0xa5)
            << "offset " << offset << " bytes " << bytes << " at " << i;
      }
    }
  }
}

TEST(StreamingStore, LargeDestinationMayBeASource) {
  Tensors weights({{DType::kFloat32, kStreamingBytes / 4 + 100, 1}}, {});
  const std::int64_t length = weights.spec(0).length;
  for (std::int64_t i = 0; i < length; ++i) {
    weights.set(0, i, static_cast<double>(i % 1000));
  }
  weights.upload();
  const std::vector<double> coefficients = {0.5, 2.0};
  combine(weights.table(), {&weights.table(), &weights.table()}, {coefficients.data()});
  const AdamRow row = AdamRow::sgd_momentum(1, 0.5);
  adam_direction(weights.table(), weights.table(), weights.table(), nullptr, {&row});
  weights.download();
  EXPECT_TRUE(weights.guards_untouched());
  for (std::int64_t i = 0; i < length; ++i) {
    ASSERT_EQ(weights.get(0, i), 1.25 * static_cast<double>(i % 1000)) << "element " << i;
  }
}

TEST(StreamingStore, LargeDestinationsGetTheSameBytes) {
  // Twice the same tensors: once within a list large enough to go past the caches.
  const std::uint64_t seed = 82;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  const std::vector<TensorSpec> small = {{DType::kFloat32, kChunkElements + 7, 1},
                                         {DType::kBFloat16, 1000, 1},
                                         {DType::kFloat64, 130, 1},
                                         {DType::kFloat16, 3, 0}};
  std::vector<TensorSpec> large = small;
  large.push_back({DType::kFloat32, kStreamingBytes / 4 + 1, 3});
  std::vector<std::vector<std::byte>> results[2];
  for (const std::size_t which : {0u, 1u}) {
    const auto& specs = which == 0 ? small : large;
    Tensors a(specs, {});
    Tensors b(specs, {});
    Tensors destination(specs, {});
    std::mt19937_64 random(seed);
    for (std::size_t s = 0; s < small.size(); ++s) {
      for (std::int64_t i = 0; i < specs[s].length; ++i) {
        a.set(s, i, std::normal_distribution<double>()(random));
        b.set(s, i, std::normal_distribution<double>()(random));
      }
    }
    a.upload();
    b.upload();
    const std::vector<double> coefficients = {1.25, -0.3};
    const AdamRow row = AdamRow::adam(10, 1e-3, 0.9, 0.999, 1e-8, 0.1, 7);
    const std::vector<std::function<void()>> kernels = {
        [&] {
          combine(destination.table(), {&a.table(), &b.table()}, {coefficients.data()});
        },
        [&] { adam_direction(destination.table(), a.table(), b.table(), nullptr, {&row}); },
        [&] { copy(destination.table(), a.table()); }};
    for (const auto& kernel : kernels) {
      kernel();
      destination.download();
      EXPECT_TRUE(destination.guards_untouched());
      for (std::size_t s = 0; s < small.size(); ++s) {
        results[which].push_back(destination.bytes(s));
      }
    }
  }
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace
}  // namespace leapverify::kernels::testing

// Runs the CUDA kernels' bodies block by block and thread by thread on the CPU: their index
// arithmetic is the part of them that needs no GPU to be tested.
#include <leapverify/kernels/adam_direction_thread.h>
#include <leapverify/kernels/average_step_thread.h>
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/checksum_thread.h>
#include <leapverify/kernels/combine_thread.h>
#include <leapverify/kernels/copy.h>
#include <leapverify/kernels/copy_thread.h>
#include <leapverify/kernels/cosine_thread.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/kernels/gram_thread.h>
#include <leapverify/kernels/sample_thread.h>

#include <gmock/gmock.h>

#include <cmath>
#include <tuple>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

constexpr int kBlocks = 5;

/// Calls body(item, thread) as a launch of kBlocks blocks would that stride over `items` items.
template <typename Body>
void for_every_thread(std::int64_t items, const Body& body) {
  for (std::int64_t block = 0; block < kBlocks; ++block) {
    for (std::int64_t item = block; item < items; item += kBlocks) {
      for (int thread = 0; thread < kBlockThreads; ++thread) {
        body(item, thread);
      }
    }
  }
}

const std::vector<DType> kAll(std::begin(kFloatingDTypes), std::end(kFloatingDTypes));

TEST(Launch, BlocksAreOnePerItemUpToALimit) {
  EXPECT_EQ(block_count(0), 0);
  EXPECT_EQ(block_count(17), 17);
  EXPECT_EQ(block_count(std::int64_t{1} << 40), kMaxBlocks);
}

TEST(Launch, ChunkLengthIsTheRestOfTheSegment) {
  EXPECT_EQ(chunk_length(5, 0), 5);
  EXPECT_EQ(chunk_length(kChunkElements + 1, 0), kChunkElements);
  EXPECT_EQ(chunk_length(kChunkElements + 1, kChunkElements), 1);
  const std::int64_t large = (std::int64_t{1} << 40) + 3;
  EXPECT_EQ(chunk_length(large, std::int64_t{1} << 40), 3);
}

/// The combine kernels, block by block; between phases all threads of a block meet.
template <int kTile>
void run_combine(const CombineParameters& parameters) {
  CombineChunk chunk = {};
  std::uint64_t non_finite[kTile] = {};
  for_every_thread(parameters.first.chunk_count, [&](std::int64_t item, int thread) {
    if (thread == 0) {  // all threads load before any of them goes on
      for (int loader = 0; loader < kBlockThreads; ++loader) {
        load_combine_chunk(parameters, item, loader, chunk);
      }
    }
    combine_thread(chunk, thread, kBlockThreads, non_finite);
  });
  for (int d = 0; d < parameters.destination_count; ++d) {
    parameters.non_finite[d] += non_finite[d];
  }
}

/// Shift of the alignments, number of destinations.
class CombineLaunch : public ::testing::TestWithParam<std::tuple<std::int64_t, std::size_t>> {};
INSTANTIATE_TEST_SUITE_P(ShiftAndDestinations, CombineLaunch,
                         ::testing::Combine(::testing::Values(0, 1, 2),
                                            ::testing::Values(1, 2, 4, 6)));

TEST_P(CombineLaunch, GivesTheBytesAndTheCountsOfTheCpuVersion) {
  const auto [shift, destination_count] = GetParam();
  const std::uint64_t seed = 61;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  const std::vector<std::vector<DType>> destination_dtypes = {
      {DType::kFloat32},
      kAll,
      {DType::kBFloat16, DType::kFloat16, DType::kFloat16, DType::kBFloat16, DType::kFloat32}};
  for (const auto& dtypes : destination_dtypes) {
    std::mt19937_64 random(seed);
    Tensors first(edge_specs({DType::kFloat32}, shift), {});
    Tensors second(edge_specs(kAll, 0), {});
    Tensors third(edge_specs({DType::kFloat16, DType::kBFloat16, DType::kFloat32}, 1), {});
    for (Tensors* tensors : {&first, &second, &third}) {
      tensors->randomize(random);
    }
    first.set(9, 3, INFINITY);
    first.set(20, kChunkElements, NAN);
    first.upload();
    const std::vector<const SegmentTable*> sources = {&first.table(), &second.table(),
                                                      &third.table()};
    std::vector<std::unique_ptr<Tensors>> expected;
    std::vector<std::unique_ptr<Tensors>> actual;
    std::vector<const SegmentTable*> expected_tables;
    std::vector<const SegmentTable*> actual_tables;
    std::vector<double> values;
    for (std::size_t d = 0; d < destination_count; ++d) {
      for (auto* list : {&expected, &actual}) {
        list->push_back(std::make_unique<Tensors>(edge_specs(dtypes, shift), Device{}));
      }
      expected_tables.push_back(&expected.back()->table());
      actual_tables.push_back(&actual.back()->table());
      // Every other destination leaves the infinite source out.
      values.insert(values.end(), {d % 2 == 0 ? 0.3 : 0.0, -1.5 + static_cast<double>(d), 0.25});
    }
    const std::size_t row = values.size();
    for (std::size_t i = 0; i < row; ++i) {
      values.push_back(i % 3 == 2 ? 1e-50 : 0.5 * values[i]);
    }
    std::vector<std::int32_t> rows;
    for (std::size_t s = 0; s < first.size(); ++s) {
      rows.push_back(static_cast<std::int32_t>(s % 2));
    }
    const Coefficients coefficients = {values.data(), 2, rows.data()};
    std::vector<std::uint64_t> expected_counts(destination_count, 0);
    combine(expected_tables, sources, coefficients, expected_counts.data());
    std::vector<std::uint64_t> actual_counts(destination_count, 0);
    for (std::size_t begin = 0; begin < destination_count; begin += kMaxTile) {
      const CombineParameters parameters =
          combine_parameters(actual_tables, begin, sources, coefficients, actual_counts.data());
      if (parameters.destination_count == 1) {
        run_combine<1>(parameters);
      } else {
        run_combine<kMaxTile>(parameters);
      }
    }
    for (std::size_t d = 0; d < destination_count; ++d) {
      expected[d]->download();
      actual[d]->download();
      for (std::size_t s = 0; s < first.size(); ++s) {
        EXPECT_TRUE(same_bytes("destination " + std::to_string(d) + " segment " + std::to_string(s),
                               actual[d]->spec(s).dtype, expected[d]->bytes(s),
                               actual[d]->bytes(s)));
      }
      EXPECT_TRUE(actual[d]->guards_untouched());
      EXPECT_EQ(expected_counts[d], d % 2 == 0 ? 2u : 0u);
    }
    EXPECT_EQ(actual_counts, expected_counts);
  }
}

TEST(Launch, AdamDirectionGivesTheBytesOfTheCpuVersion) {
  const std::uint64_t seed = 66;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const std::int64_t shift : {0, 1, 2}) {
    for (const bool has_second_moment : {true, false}) {
      Tensors weights(edge_specs(kAll, shift), {});
      Tensors exp_avg(edge_specs({DType::kFloat32}, shift), {});
      Tensors exp_avg_sq(edge_specs({DType::kFloat32, DType::kFloat16}, 1), {});
      Tensors expected(edge_specs({DType::kFloat32, DType::kBFloat16}, shift), {});
      Tensors actual(edge_specs({DType::kFloat32, DType::kBFloat16}, shift), {});
      for (Tensors* tensors : {&weights, &exp_avg, &exp_avg_sq}) {
        tensors->randomize(random);  // negative second moments give NaN, to be counted
      }
      const std::vector<AdamRow> rows = {AdamRow::adam(5, 1e-2, 0.9, 0.999, 1e-8, 0.1, 3),
                                         AdamRow::adam(50, 1e-3, 0.8, 0.9, 1e-6, 0, 300)};
      std::vector<std::int32_t> map;
      for (std::size_t s = 0; s < weights.size(); ++s) {
        map.push_back(static_cast<std::int32_t>(s % 2));
      }
      const AdamRows table = {rows.data(), 2, map.data()};
      const SegmentTable* second = has_second_moment ? &exp_avg_sq.table() : nullptr;
      std::uint64_t expected_count = 0;
      adam_direction(expected.table(), weights.table(), exp_avg.table(), second, table,
                     &expected_count);
      const AdamParameters parameters =
          adam_parameters(actual.table(), weights.table(), exp_avg.table(), second, table, nullptr);
      std::uint64_t actual_count = 0;
      for_every_thread(parameters.destination.chunk_count, [&](std::int64_t item, int thread) {
        actual_count += adam_thread(parameters, item, thread, kBlockThreads);
      });
      expected.download();
      actual.download();
      for (std::size_t s = 0; s < actual.size(); ++s) {
        EXPECT_TRUE(same_bytes("segment " + std::to_string(s), actual.spec(s).dtype,
                               expected.bytes(s), actual.bytes(s)));
      }
      EXPECT_TRUE(actual.guards_untouched());
      EXPECT_EQ(actual_count, expected_count);
      EXPECT_EQ(expected_count > 0, has_second_moment);
    }
  }
}

TEST(Launch, AverageStepGivesTheBytesOfTheCpuVersion) {
  const std::uint64_t seed = 67;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  const AverageStep step = {0.8, 0.3, 0.8};
  for (const std::int64_t shift : {0, 1, 2}) {
    for (const bool takes_in : {true, false}) {
      std::vector<std::unique_ptr<Tensors>> sets[2];
      for (auto& set : sets) {
        std::mt19937_64 random(seed);
        for (const auto& specs : {edge_specs(kAll, shift), edge_specs(kAll, 1),
                                  edge_specs({DType::kFloat32, DType::kBFloat16}, shift)}) {
          set.push_back(std::make_unique<Tensors>(specs, Device{}));
          set.back()->randomize(random);
        }
      }
      auto& [expected, actual] = sets;
      if (takes_in) {
        average_step(expected[0]->table(), expected[1]->table(), expected[2]->table(), step);
      } else {
        place_between(expected[0]->table(), expected[1]->table(), expected[2]->table(), step.pull);
      }
      const AverageParameters parameters =
          average_parameters(actual[0]->table(), actual[1]->table(), actual[2]->table(), step);
      for_every_thread(parameters.weights.chunk_count, [&](std::int64_t item, int thread) {
        if (takes_in) {
          average_thread<true>(parameters, item, thread, kBlockThreads);
        } else {
          average_thread<false>(parameters, item, thread, kBlockThreads);
        }
      });
      for (std::size_t t = 0; t < expected.size(); ++t) {
        expected[t]->download();
        actual[t]->download();
        for (std::size_t s = 0; s < actual[t]->size(); ++s) {
          EXPECT_TRUE(same_bytes("table " + std::to_string(t) + ", segment " + std::to_string(s),
                                 actual[t]->spec(s).dtype, expected[t]->bytes(s),
                                 actual[t]->bytes(s)));
        }
        EXPECT_TRUE(actual[t]->guards_untouched());
      }
    }
  }
}

TEST(Launch, SampleGivesTheBytesOfTheCpuVersion) {
  const std::uint64_t seed = 68;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  for (const SampleStep step : {SampleStep{1, 0.9, 0.1}, {3, 0.9, 0.1}, {3, 0, 1}}) {
    for (const std::int64_t shift : {0, 1, 2}) {
      std::mt19937_64 random(seed);
      Tensors source(edge_specs(kAll, shift), Device{});
      source.randomize(random);
      std::vector<TensorSpec> specs = edge_specs({DType::kFloat32, DType::kBFloat16}, 1);
      for (TensorSpec& spec : specs) spec.length = (spec.length + step.spacing - 1) / step.spacing;
      Tensors expected(specs, Device{}), actual(specs, Device{});
      for (Tensors* samples : {&expected, &actual}) {
        std::mt19937_64 same(seed + 1);
        samples->randomize(same);
      }
      sample(expected.table(), source.table(), step);
      const SampleParameters parameters = sample_parameters(actual.table(), source.table(), step);
      for_every_thread(parameters.samples.chunk_count, [&](std::int64_t item, int thread) {
        sample_thread(parameters, item, thread, kBlockThreads);
      });
      expected.download();
      actual.download();
      for (std::size_t s = 0; s < actual.size(); ++s) {
        EXPECT_TRUE(same_bytes("segment " + std::to_string(s), actual.spec(s).dtype,
                               expected.bytes(s), actual.bytes(s)));
      }
      EXPECT_TRUE(actual.guards_untouched());
    }
  }
}

TEST(Launch, CopyMovesWhatTheCpuVersionMoves) {
  const std::uint64_t seed = 62;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::vector<DType> dtypes = kAll;
  dtypes.push_back(DType::kBytes);
  for (const std::int64_t shift : {0, 1, 2}) {
    Tensors source(edge_specs(dtypes, 0), {});
    Tensors destination(edge_specs(dtypes, shift), {});
    source.randomize(random);
    const SegmentView view = destination.table().view();
    for_every_thread(view.chunk_count, [&](std::int64_t item, int thread) {
      copy_thread(view, source.table().view().segments, item, thread, kBlockThreads);
    });
    destination.download();
    for (std::size_t s = 0; s < source.size(); ++s) {
      EXPECT_TRUE(same_bytes("segment " + std::to_string(s), source.spec(s).dtype, source.bytes(s),
                             destination.bytes(s)));
    }
    EXPECT_TRUE(destination.guards_untouched());
  }
}

TEST(Launch, ChecksumAddsUpToTheDigestOfTheCpuVersion) {
  const std::uint64_t seed = 63;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::vector<DType> dtypes = kAll;
  dtypes.push_back(DType::kBytes);
  for (const std::int64_t shift : {0, 1, 2}) {
    Tensors tensors(edge_specs(dtypes, shift), {});
    std::uint64_t digests[2] = {0, 0};
    std::uint64_t sums[2] = {0, 0};
    for (const int round : {0, 1}) {
      if (round == 1) {
        tensors.randomize(random);
      }
      checksum(tensors.table(), &digests[round]);
      const SegmentView view = tensors.table().view();
      for_every_thread(view.chunk_count, [&](std::int64_t item, int thread) {
        sums[round] += checksum_thread(view, item, thread, kBlockThreads);
      });
    }
    // The term of the shape, which the host adds, cancels.
    EXPECT_EQ(digests[1] - digests[0], sums[1] - sums[0]);
  }
}

TEST(Launch, CosineAddsUpEveryColumnOnce) {
  const std::uint64_t seed = 64;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const std::int64_t columns : {1, 255, 256, 257, 1000}) {
    Tensors a({{DType::kFloat32, 3 * columns}}, {});
    Tensors b({{DType::kFloat16, 3 * columns}}, {});
    a.randomize(random);
    b.randomize(random);
    const MatrixView x = {a.table().segments()[0].data, 3, columns, DType::kFloat32};
    const MatrixView y = {b.table().segments()[0].data, 3, columns, DType::kFloat16};
    std::vector<double> expected(3);
    cosine(x, y, expected.data(), {});
    std::vector<double> actual;
    for (std::int64_t row = 0; row < 3; ++row) {
      CosineSums sums = {0, 0, 0};
      for (int thread = 0; thread < kBlockThreads; ++thread) {
        const CosineSums share = cosine_thread(x, y, row, thread, kBlockThreads);
        sums.ab += share.ab;
        sums.aa += share.aa;
        sums.bb += share.bb;
      }
      actual.push_back(cosine_of(sums));
    }
    EXPECT_TRUE(all_near("cosines", expected, actual, std::vector<double>(3, 1e-14)));
  }
}

TEST(Launch, PairsOfSourcesAreNumberedWithoutGaps) {
  for (int sources = 1; sources <= kMaxSources; ++sources) {
    int index = 0;
    for (int j = 0; j < sources; ++j) {
      for (int k = j; k < sources; ++k, ++index) {
        ASSERT_EQ(pair_index(j, k, sources), index);
        ASSERT_EQ(pair_at(index, sources).j, j);
        ASSERT_EQ(pair_at(index, sources).k, k);
      }
    }
    ASSERT_EQ(pair_count(sources), index);
  }
}

TEST(Launch, GramLayoutFitsSharedMemory) {
  for (int sources = 1; sources <= kMaxSources; ++sources) {
    const GramLayout layout = GramLayout::of(sources, kBlockThreads);
    EXPECT_GE(layout.slices, 1);
    EXPECT_GE(layout.tile_rows * kTileSources, sources);
    EXPECT_EQ(layout.slab_elements % 4, 0);
    EXPECT_LE(layout.tile_rows * kTileSources * layout.row_stride, kSharedDoubles);
    EXPECT_LE(layout.tiles * layout.slices * kTilePairs, kSharedDoubles);
  }
}

TEST(Launch, FirstChunkIsFoundForFullAndEmptySegments) {
  Tensors tensors({{DType::kFloat32, 0},
                   {DType::kFloat32, 2 * kChunkElements},
                   {DType::kFloat32, 0},
                   {DType::kFloat32, 1},
                   {DType::kFloat32, 0}},
                  {});
  const SegmentView view = tensors.table().view();
  const std::int64_t expected[] = {0, 0, 2, 2, 3, 3};
  for (std::int64_t s = 0; s <= 5; ++s) {
    EXPECT_EQ(first_chunk_from(view, s), expected[s]) << "segment " << s;
  }
}

/// Both gram kernels, phase by phase: between phases all threads of a block meet.
void run_gram(const GramParameters& parameters) {
  const GramLayout layout = GramLayout::of(parameters.source_count, kBlockThreads);
  std::vector<double> shared(kSharedDoubles, NAN);
  const auto phase = [](const auto& body) {
    for (int thread = 0; thread < kBlockThreads; ++thread) {
      body(thread);
    }
  };
  for (std::int64_t c = 0; c < parameters.first.chunk_count; ++c) {
    GramChunk chunk = {};
    phase([&](int t) { load_gram_chunk(parameters, c, t, chunk); });
    double products[kBlockThreads][kTilePairs] = {};
    for (int begin = 0; begin < chunk.length; begin += layout.slab_elements) {
      phase([&](int t) { stage_slab(chunk, layout, begin, t, kBlockThreads, shared.data()); });
      phase([&](int t) { multiply_slab(layout, t, shared.data(), products[t]); });
    }
    phase([&](int t) { store_products(layout, t, products[t], shared.data()); });
    for (int active = layout.slices; active > 1;) {
      const int before = active;
      phase([&](int t) { active = fold_slices(layout, before, t, kBlockThreads, shared.data()); });
    }
    phase([&](int t) { store_partials(parameters, layout, c, t, kBlockThreads, shared.data()); });
  }
  for (std::int64_t segment = 0; segment < parameters.first.segment_count; ++segment) {
    for (int pair = 0; pair < pair_count(parameters.source_count); ++pair) {
      double sum = 0.0;
      phase([&](int t) { sum += sum_partials(parameters, segment, pair, t, kBlockThreads); });
      store_gram(parameters.gram, segment, pair_at(pair, parameters.source_count),
                 parameters.source_count, sum);
    }
  }
}

class GramLaunch : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Sources, GramLaunch, ::testing::Values(1, 2, 4, 5, 9, 13, 20, 25, 32));

TEST_P(GramLaunch, GivesTheProductsOfTheCpuVersion) {
  const std::uint64_t seed = 65;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const auto count = static_cast<std::size_t>(GetParam());
  std::vector<std::unique_ptr<Tensors>> owned;
  std::vector<const SegmentTable*> sources;
  const auto specs = [](std::size_t k) {
    return std::vector<TensorSpec>{
        {kFloatingDTypes[k % 4], kChunkElements + 1, static_cast<std::int64_t>(k % 3)},
        {DType::kFloat32, 0},
        {kFloatingDTypes[(k + 1) % 4], 1026},
        {DType::kFloat32, 7, static_cast<std::int64_t>(k % 2)}};
  };
  for (std::size_t k = 0; k < count; ++k) {
    owned.push_back(std::make_unique<Tensors>(specs(k), Device{}));
    owned.back()->randomize(random);
    sources.push_back(&owned.back()->table());
  }
  Tensors reference(specs(1), {});
  reference.randomize(random);
  for (const SegmentTable* subtracted :
       {static_cast<const SegmentTable*>(nullptr), &reference.table()}) {
    std::vector<double> expected(4 * count * count);
    std::vector<double> actual(expected.size(), NAN);
    std::vector<double> workspace(static_cast<std::size_t>(gram_workspace(*sources[0], GetParam())),
                                  NAN);
    gram(sources, subtracted, expected.data(), workspace.data());
    std::fill(workspace.begin(), workspace.end(), NAN);
    run_gram(gram_parameters(sources, subtracted, actual.data(), workspace.data()));
    // Two orders of adding up some 16 thousand products of about 1.
    EXPECT_TRUE(all_near("gram", expected, actual, std::vector<double>(expected.size(), 1e-9)));
  }
}

}  // namespace
}  // namespace leapverify::kernels::testing

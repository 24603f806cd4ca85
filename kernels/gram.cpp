// Argument checks of gram, and its CPU version.
#include <leapverify/kernels/cpu_blocks.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/kernels/gram_thread.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/parallel.h>
#include <leapverify/kernels/table_checks.h>
#include <leapverify/kernels/wide_vectors.h>

#include <algorithm>

namespace leapverify::kernels {
namespace {

/// The differences of up to kMaxSources sources over so many elements fit the L2 cache.
constexpr std::int64_t kBlockElements = 256;

void subtract_block(double* values, const double* reference, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] -= reference[i];
  }
}

using Differences = double[kMaxSources][kBlockElements];

/// sums[pair] grows by the products of `count` elements, two sources by two.
void add_products(const Differences& differences, int source_count, std::int64_t count,
                  double* sums) {
  const auto add = [sums, source_count](int j, int k, double product) {
    if (j <= k && k < source_count) {
      sums[pair_index(j, k, source_count)] += product;
    }
  };
  for (int j = 0; j + 1 < source_count; j += 2) {
    for (int k = j; k + 1 < source_count; k += 2) {
      double products[2][2];
      dot_blocks(differences[j], differences[j + 1], differences[k], differences[k + 1], count,
                 products);
      add(j, k, products[0][0]);
      add(j, k + 1, products[0][1]);
      add(j + 1, k, products[1][0]);
      add(j + 1, k + 1, products[1][1]);
    }
  }
  if (source_count % 2 == 1) {
    for (int j = 0; j < source_count; ++j) {
      const int last = source_count - 1;
      add(j, last, dot_block(differences[j], differences[last], count));
    }
  }
}

/// partials[pair · stride] ← the products of one chunk.
void multiply_chunk(const GramChunk& chunk, int source_count, std::int64_t stride,
                    double* partials) {
  with_wide_vectors([&] {
    alignas(64) double differences[kMaxSources][kBlockElements];
    alignas(64) double subtracted[kBlockElements];
    double sums[kMaxSources * (kMaxSources + 1) / 2] = {};
    for (std::int64_t block = 0; block < chunk.length; block += kBlockElements) {
      const std::int64_t count = std::min(kBlockElements, chunk.length - block);
      if (chunk.reference.data != nullptr) {
        widen_block(chunk.reference, block, count, subtracted);
      }
      for (int k = 0; k < source_count; ++k) {
        widen_block(chunk.sources[k], block, count, differences[k]);
        if (chunk.reference.data != nullptr) {
          subtract_block(differences[k], subtracted, count);
        }
      }
      add_products(differences, source_count, count, sums);
    }
    for (int p = 0; p < pair_count(source_count); ++p) {
      partials[p * stride] = sums[p];
    }
  });
}

void gram_cpu(const std::vector<const SegmentTable*>& sources, const SegmentTable* reference,
              double* gram, double* workspace) {
  const GramParameters parameters = gram_parameters(sources, reference, gram, workspace);
  const std::int64_t chunks = parameters.first.chunk_count;
  const int source_count = parameters.source_count;
  const std::int64_t elements = sources.front()->element_count() * source_count;
  parallel_sum(chunks, elements, [&](std::int64_t c) -> std::uint64_t {
    GramChunk chunk = {};
    for (int loader = 0; loader <= source_count; ++loader) {
      load_gram_chunk(parameters, c, loader, chunk);
    }
    multiply_chunk(chunk, source_count, chunks, workspace + c);
    return 0;
  });
  const int pairs = pair_count(source_count);
  parallel_sum(parameters.first.segment_count * pairs, chunks * pairs,
               [&](std::int64_t task) -> std::uint64_t {
                 const std::int64_t segment = task / pairs;
                 const int pair = static_cast<int>(task % pairs);
                 store_gram(gram, segment, pair_at(pair, source_count), source_count,
                            sum_partials(parameters, segment, pair, 0, 1));
                 return 0;
               });
}

}  // namespace

std::int64_t gram_workspace(const SegmentTable& table, int source_count) {
  LV_CHECK(source_count >= 1 && source_count <= kMaxSources,
           source_count << " sources, expected 1 to " << kMaxSources);
  return table.chunk_count() * pair_count(source_count);
}

void gram(const std::vector<const SegmentTable*>& sources, const SegmentTable* reference,
          double* gram, double* workspace, Stream stream) {
  check_sources(sources);
  const SegmentTable& first = *sources.front();
  if (reference != nullptr) {
    check_floating(*reference, "reference");
    check_same_shape(first, "source 0", *reference, "reference");
  }
  LV_CHECK(gram != nullptr || first.segments().empty(),
           "gram of " << first.segments().size() << " segments is null");
  LV_CHECK(workspace != nullptr || first.element_count() == 0,
           "workspace for " << first.element_count() << " elements is null");
  if (first.device().kind == DeviceKind::kCuda) {
    gram_cuda(sources, reference, gram, workspace, stream);
  } else {
    gram_cpu(sources, reference, gram, workspace);
  }
}

}  // namespace leapverify::kernels

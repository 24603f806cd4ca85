// What one thread of the gram kernels does, and the order of pairs that all versions share.
// Host-device, so that the CPU tests can run a launch thread by thread.
//
// A block takes a chunk slab by slab: it stages the differences of all sources in shared memory as
// float64, so that every element is read from memory once however many sources there are. Then each
// thread multiplies a tile of 4 × 4 sources over its slice of the slab's elements.
#pragma once

#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/vector_access.h>

namespace leapverify::kernels {

inline constexpr int kTileSources = 4;
inline constexpr int kTilePairs = kTileSources * kTileSources;
inline constexpr int kStagedElements = 4096;
/// Between the rows of a slab, so that neighbouring tiles meet in different banks.
inline constexpr int kRowPadding = 2;
/// Doubles of shared memory: the slab, or one tile's sums per thread, whichever is more.
inline constexpr int kSharedDoubles = kStagedElements + kMaxSources * kRowPadding;
static_assert(kSharedDoubles >= kBlockThreads * kTilePairs);

/// Unordered pairs of sources (j, k), j ≤ k: (0, 0), (0, 1), …, (1, 1), ….
LV_HOST_DEVICE inline int pair_count(int sources) { return sources * (sources + 1) / 2; }

LV_HOST_DEVICE inline int pair_index(int j, int k, int sources) {
  return j * sources - j * (j - 1) / 2 + (k - j);
}

struct SourcePair {
  int j;
  int k;
};

LV_HOST_DEVICE inline SourcePair pair_at(int index, int sources) {
  int j = 0;
  while (index >= sources - j) {
    index -= sources - j;
    ++j;
  }
  return {j, j + index};
}

/// How a block divides its work.
struct GramLayout {
  int sources;
  int tile_rows;      // sources in groups of four, the last one filled up with zeros
  int tiles;          // unordered pairs of groups
  int slices;         // threads per tile
  int slab_elements;  // a multiple of four
  int row_stride;     // doubles from one source's row of a slab to the next

  LV_HOST_DEVICE static GramLayout of(int sources, int threads) {
    GramLayout layout;
    layout.sources = sources;
    layout.tile_rows = (sources + kTileSources - 1) / kTileSources;
    layout.tiles = pair_count(layout.tile_rows);
    layout.slices = threads / layout.tiles;
    layout.slab_elements = kStagedElements / (layout.tile_rows * kTileSources) / 4 * 4;
    layout.row_stride = layout.slab_elements + kRowPadding;
    return layout;
  }
};

struct GramParameters {
  SegmentView first;  // of source 0: the lengths and chunks are the same for all
  const Segment* sources[kMaxSources];
  const Segment* reference;
  std::int32_t source_count;
  double* gram;
  double* workspace;  // [pairs × chunks]
};

inline GramParameters gram_parameters(const std::vector<const SegmentTable*>& sources,
                                      const SegmentTable* reference, double* gram,
                                      double* workspace) {
  GramParameters parameters = {};
  parameters.first = sources.front()->view();
  for (std::size_t k = 0; k < sources.size(); ++k) {
    parameters.sources[k] = sources[k]->view().segments;
  }
  parameters.reference = reference == nullptr ? nullptr : reference->view().segments;
  parameters.source_count = static_cast<std::int32_t>(sources.size());
  parameters.gram = gram;
  parameters.workspace = workspace;
  return parameters;
}

/// One chunk as the threads of a block share it; the pointers are those of its first element.
struct GramChunk {
  TypedPointer sources[kMaxSources];
  TypedPointer reference;  // null data: zero
  std::int32_t length;
};

/// Fills in the chunk, each source by the thread of its number and the rest by the next: a block
/// needs kMaxSources + 1 threads.
LV_HOST_DEVICE inline void load_gram_chunk(const GramParameters& parameters, std::int64_t index,
                                           int thread, GramChunk& chunk) {
  if (thread > parameters.source_count) {
    return;
  }
  const Chunk place = parameters.first.chunks[index];
  const bool is_source = thread < parameters.source_count;
  const Segment* segments = is_source ? parameters.sources[thread] : parameters.reference;
  TypedPointer pointer = {nullptr, DType::kFloat32};
  if (segments != nullptr) {
    pointer = pointer_into(segments[place.segment], place.begin);
  }
  if (is_source) {
    chunk.sources[thread] = pointer;
  } else {
    chunk.reference = pointer;
    chunk.length = chunk_length(parameters.first.segments[place.segment].length, place.begin);
  }
}

/// Stages the slab of a chunk that starts at element `begin`. Rows without a source and elements
/// past the end of the chunk become zero.
LV_HOST_DEVICE inline void stage_slab(const GramChunk& chunk, const GramLayout& layout, int begin,
                                      int thread, int threads, double* slab) {
  const int row_quads = layout.slab_elements / 4;
  const int quads = layout.tile_rows * kTileSources * row_quads;
  for (int q = thread; q < quads; q += threads) {
    const int row = q / row_quads;
    const int element = 4 * (q % row_quads);
    const QuadSet set = {(begin + element) / 4, 0, chunk.length};
    double values[1][4] = {};
    if (row < layout.sources && set.count(0) > 0) {
      load_quads(chunk.sources[row], set, values);
      if (chunk.reference.data != nullptr) {
        double reference[1][4] = {};
        load_quads(chunk.reference, set, reference);
        LV_UNROLL
        for (int i = 0; i < 4; ++i) {
          values[0][i] -= reference[0][i];
        }
      }
    }
    LV_UNROLL
    for (int i = 0; i < 4; ++i) {
      slab[row * layout.row_stride + element + i] = values[0][i];
    }
  }
}

/// Adds this thread's slice of a slab to the products of its tile.
LV_HOST_DEVICE inline void multiply_slab(const GramLayout& layout, int thread, const double* slab,
                                         double (&products)[kTilePairs]) {
  const int tile = thread / layout.slices;
  if (tile >= layout.tiles) {
    return;
  }
  const SourcePair rows = pair_at(tile, layout.tile_rows);
  const double* left = slab + std::int64_t{rows.j} * kTileSources * layout.row_stride;
  const double* right = slab + std::int64_t{rows.k} * kTileSources * layout.row_stride;
  for (int e = thread % layout.slices; e < layout.slab_elements; e += layout.slices) {
    double x[kTileSources];
    double y[kTileSources];
    LV_UNROLL
    for (int i = 0; i < kTileSources; ++i) {
      x[i] = left[i * layout.row_stride + e];
      y[i] = right[i * layout.row_stride + e];
    }
    LV_UNROLL
    for (int i = 0; i < kTilePairs; ++i) {
      products[i] = fused_multiply_add(x[i / kTileSources], y[i % kTileSources], products[i]);
    }
  }
}

/// sums[product of tile][slice] ← this thread's products.
LV_HOST_DEVICE inline void store_products(const GramLayout& layout, int thread,
                                          const double (&products)[kTilePairs], double* sums) {
  const int tile = thread / layout.slices;
  if (tile >= layout.tiles) {
    return;
  }
  LV_UNROLL
  for (int i = 0; i < kTilePairs; ++i) {
    sums[(tile * kTilePairs + i) * layout.slices + thread % layout.slices] = products[i];
  }
}

/// One round of adding up the slices: the upper half of the first `active` ones onto the lower.
/// Returns how many stay active; all threads must meet between two rounds.
LV_HOST_DEVICE inline int fold_slices(const GramLayout& layout, int active, int thread, int threads,
                                      double* sums) {
  const int half = (active + 1) / 2;
  const int folded = active - half;
  for (int i = thread; i < layout.tiles * kTilePairs * folded; i += threads) {
    double* slices = sums + std::int64_t{i / folded} * layout.slices;
    slices[i % folded] += slices[i % folded + half];
  }
  return half;
}

/// Where the folded sums hold the product of sources j ≤ k.
LV_HOST_DEVICE inline int position_of_pair(const GramLayout& layout, const SourcePair& pair) {
  const int tile = pair_index(pair.j / kTileSources, pair.k / kTileSources, layout.tile_rows);
  const int product = pair.j % kTileSources * kTileSources + pair.k % kTileSources;
  return (tile * kTilePairs + product) * layout.slices;
}

/// Writes the folded sums of a chunk to the workspace.
LV_HOST_DEVICE inline void store_partials(const GramParameters& parameters,
                                          const GramLayout& layout, std::int64_t chunk, int thread,
                                          int threads, const double* sums) {
  for (int p = thread; p < pair_count(layout.sources); p += threads) {
    parameters.workspace[p * parameters.first.chunk_count + chunk] =
        sums[position_of_pair(layout, pair_at(p, layout.sources))];
  }
}

/// The first chunk of a segment or of a later one; `chunk_count` where there is none.
LV_HOST_DEVICE inline std::int64_t first_chunk_from(const SegmentView& table,
                                                    std::int64_t segment) {
  std::int64_t low = 0;
  std::int64_t high = table.chunk_count;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (table.chunks[middle].segment < segment) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// The share of one of `threads` threads in the sum over the chunks of a segment.
LV_HOST_DEVICE inline double sum_partials(const GramParameters& parameters, std::int64_t segment,
                                          int pair, int thread, int threads) {
  const std::int64_t end = first_chunk_from(parameters.first, segment + 1);
  const double* partials = parameters.workspace + pair * parameters.first.chunk_count;
  double sum = 0.0;
  for (std::int64_t c = first_chunk_from(parameters.first, segment) + thread; c < end;
       c += threads) {
    sum += partials[c];
  }
  return sum;
}

LV_HOST_DEVICE inline void store_gram(double* gram, std::int64_t segment, const SourcePair& pair,
                                      int sources, double value) {
  double* matrix = gram + segment * sources * sources;
  matrix[pair.j * sources + pair.k] = value;
  matrix[pair.k * sources + pair.j] = value;
}

}  // namespace leapverify::kernels

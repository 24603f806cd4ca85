// What one thread of the combine kernel does. Host-device, so that the CPU tests can run a launch
// thread by thread.
#pragma once

#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/vector_access.h>

namespace leapverify::kernels {

struct CombineParameters {
  SegmentView destination;
  const Segment* sources[kMaxSources];
  std::int32_t source_count;
  Coefficients coefficients;
  std::uint64_t* non_finite;
};

inline CombineParameters combine_parameters(const SegmentTable& destination,
                                            const std::vector<const SegmentTable*>& sources,
                                            const Coefficients& coefficients,
                                            std::uint64_t* non_finite) {
  CombineParameters parameters = {};
  parameters.destination = destination.view();
  for (std::size_t k = 0; k < sources.size(); ++k) {
    parameters.sources[k] = sources[k]->view().segments;
  }
  parameters.source_count = static_cast<std::int32_t>(sources.size());
  parameters.coefficients = coefficients;
  parameters.non_finite = non_finite;
  return parameters;
}

/// One chunk as the threads of a block share it; the pointers are those of its first element.
struct CombineChunk {
  void* destination;
  DType destination_dtype;
  std::int32_t length;
  std::int32_t source_count;
  const void* sources[kMaxSources];
  DType source_dtypes[kMaxSources];
  double coefficients[kMaxSources];
};

/// Fills in the chunk, each source by the thread of its number and the destination by the next: a
/// block needs kMaxSources + 1 threads.
LV_HOST_DEVICE inline void load_combine_chunk(const CombineParameters& parameters,
                                              std::int64_t index, int thread, CombineChunk& chunk) {
  if (thread > parameters.source_count) {
    return;
  }
  const Chunk place = parameters.destination.chunks[index];
  if (thread == parameters.source_count) {
    const Segment& segment = parameters.destination.segments[place.segment];
    chunk.destination = static_cast<char*>(segment.data) + place.begin * size_of(segment.dtype);
    chunk.destination_dtype = segment.dtype;
    chunk.length = chunk_length(segment.length, place.begin);
    chunk.source_count = parameters.source_count;
  } else {
    const Segment& segment = parameters.sources[thread][place.segment];
    const std::int32_t* rows = parameters.coefficients.row_of_segment;
    const std::int64_t row = rows == nullptr ? 0 : rows[place.segment];
    chunk.sources[thread] =
        static_cast<const char*>(segment.data) + place.begin * size_of(segment.dtype);
    chunk.source_dtypes[thread] = segment.dtype;
    chunk.coefficients[thread] =
        parameters.coefficients.values[row * parameters.source_count + thread];
  }
}

/// The quads a thread works on at a time: number `first`, `first` + `stride`, …, of a chunk of
/// `length` elements. Several are in flight at once to hide the latency of memory.
struct QuadSet {
  int first;
  int stride;
  int length;

  LV_HOST_DEVICE int begin(int quad) const { return 4 * (first + quad * stride); }
  LV_HOST_DEVICE int count(int quad) const {
    const int rest = length - begin(quad);
    return rest < 0 ? 0 : (rest < 4 ? rest : 4);
  }
  /// True when the first `quads` quads lie within the chunk.
  LV_HOST_DEVICE bool whole(int quads) const { return begin(quads - 1) + 4 <= length; }
};

template <typename Element, typename Sum, int kQuads>
LV_HOST_DEVICE inline void add_source(const void* data, Sum coefficient, const QuadSet& set,
                                      Sum (&sums)[kQuads][4]) {
  LV_ASSUME_GLOBAL(data);
  const auto* elements = static_cast<const Element*>(data);
  Sum values[kQuads][4];
  if (set.whole(kQuads) && is_aligned(elements, alignof(Quad<Element>))) {
    Quad<Element> quads[kQuads];
    LV_UNROLL
    for (int q = 0; q < kQuads; ++q) {
      quads[q] = *reinterpret_cast<const Quad<Element>*>(elements + set.begin(q));
    }
    LV_UNROLL
    for (int q = 0; q < kQuads; ++q) {
      LV_UNROLL
      for (int i = 0; i < 4; ++i) {
        values[q][i] = widen<Sum>(quads[q].values[i]);
      }
    }
  } else {
    LV_UNROLL
    for (int q = 0; q < kQuads; ++q) {
      load_quad(elements + set.begin(q), set.count(q), values[q]);
    }
  }
  LV_UNROLL
  for (int q = 0; q < kQuads; ++q) {
    LV_UNROLL
    for (int i = 0; i < 4; ++i) {
      sums[q][i] = fused_multiply_add(coefficient, values[q][i], sums[q][i]);
    }
  }
}

/// Returns the number of NaN and infinite results.
template <typename Element, typename Sum, int kQuads>
LV_HOST_DEVICE inline std::uint32_t store_sums(const Sum (&sums)[kQuads][4], const QuadSet& set,
                                               void* data) {
  LV_ASSUME_GLOBAL(data);
  auto* elements = static_cast<Element*>(data);
  std::uint32_t non_finite = 0;
  LV_UNROLL
  for (int q = 0; q < kQuads; ++q) {
    const int count = set.count(q);
    Quad<Element> quad;
    LV_UNROLL
    for (int i = 0; i < 4; ++i) {
      quad.values[i] = narrow<Element>(canonical_nan(sums[q][i]));
      non_finite += i < count && !is_finite(quad.values[i]) ? 1u : 0u;
    }
    store_quad(quad, count, elements + set.begin(q));
  }
  return non_finite;
}

template <typename Sum>
LV_HOST_DEVICE inline std::uint32_t combine_thread_in(const CombineChunk& chunk, int thread,
                                                      int threads) {
  constexpr int kQuads = 16 / sizeof(Sum);
  std::uint32_t non_finite = 0;
  for (int first = thread; 4 * first < chunk.length; first += kQuads * threads) {
    const QuadSet set = {first, threads, chunk.length};
    Sum sums[kQuads][4] = {};
    for (int k = 0; k < chunk.source_count; ++k) {
      const auto coefficient = static_cast<Sum>(chunk.coefficients[k]);
      if (coefficient == Sum(0)) {
        continue;
      }
      switch (chunk.source_dtypes[k]) {
        case DType::kFloat32:
          add_source<float>(chunk.sources[k], coefficient, set, sums);
          break;
        case DType::kBFloat16:
          add_source<BFloat16>(chunk.sources[k], coefficient, set, sums);
          break;
        case DType::kFloat16:
          add_source<Float16>(chunk.sources[k], coefficient, set, sums);
          break;
        case DType::kFloat64:
          add_source<double>(chunk.sources[k], coefficient, set, sums);
          break;
        case DType::kBytes:
          break;
      }
    }
    switch (chunk.destination_dtype) {
      case DType::kFloat32:
        non_finite += store_sums<float>(sums, set, chunk.destination);
        break;
      case DType::kBFloat16:
        non_finite += store_sums<BFloat16>(sums, set, chunk.destination);
        break;
      case DType::kFloat16:
        non_finite += store_sums<Float16>(sums, set, chunk.destination);
        break;
      case DType::kFloat64:
        non_finite += store_sums<double>(sums, set, chunk.destination);
        break;
      case DType::kBytes:
        break;
    }
  }
  return non_finite;
}

/// The share of one of `threads` threads in a chunk; returns the number of its NaN and infinite
/// results. A thread reads all its sources before it writes, so the destination may be a source.
LV_HOST_DEVICE inline std::uint32_t combine_thread(const CombineChunk& chunk, int thread,
                                                   int threads) {
  bool float64 = chunk.destination_dtype == DType::kFloat64;
  for (int k = 0; k < chunk.source_count; ++k) {
    float64 = float64 || chunk.source_dtypes[k] == DType::kFloat64;
  }
  return float64 ? combine_thread_in<double>(chunk, thread, threads)
                 : combine_thread_in<float>(chunk, thread, threads);
}

}  // namespace leapverify::kernels

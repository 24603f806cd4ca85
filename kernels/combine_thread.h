// What one thread of the combine kernel does. Host-device, so that the CPU tests can run a launch
// thread by thread.
#pragma once

#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/number_formats.h>
#include <leapverify/kernels/vector_access.h>

namespace leapverify::kernels {

/// Destinations of one launch: several read each source once.
inline constexpr int kMaxTile = 4;

struct CombineParameters {
  SegmentView first;  // of destination 0: the lengths, chunks and dtypes are the same for all
  const Segment* destinations[kMaxTile];
  const Segment* sources[kMaxSources];
  std::int32_t destination_count;
  std::int32_t source_count;
  Coefficients coefficients;  // `values` is that of the first destination of the launch
  std::int64_t row_stride;    // from one row of coefficients to the next
  std::uint64_t* non_finite;  // [destinations], or null
};

/// Destinations `begin` … of at most kMaxTile in one launch.
inline CombineParameters combine_parameters(const std::vector<const SegmentTable*>& destinations,
                                            std::size_t begin,
                                            const std::vector<const SegmentTable*>& sources,
                                            const Coefficients& coefficients,
                                            std::uint64_t* non_finite) {
  CombineParameters parameters = {};
  parameters.first = destinations[begin]->view();
  for (std::size_t d = begin; d < destinations.size() && d < begin + kMaxTile; ++d) {
    parameters.destinations[d - begin] = destinations[d]->view().segments;
    ++parameters.destination_count;
  }
  for (std::size_t k = 0; k < sources.size(); ++k) {
    parameters.sources[k] = sources[k]->view().segments;
  }
  parameters.source_count = static_cast<std::int32_t>(sources.size());
  parameters.coefficients = coefficients;
  parameters.coefficients.values += begin * sources.size();
  parameters.row_stride = static_cast<std::int64_t>(destinations.size() * sources.size());
  parameters.non_finite = non_finite == nullptr ? nullptr : non_finite + begin;
  return parameters;
}

/// One chunk as the threads of a block share it; the pointers are those of its first element.
struct CombineChunk {
  void* destinations[kMaxTile];
  DType destination_dtype;
  std::int32_t length;
  std::int32_t destination_count;
  std::int32_t source_count;
  TypedPointer sources[kMaxSources];
  double coefficients[kMaxSources][kMaxTile];
};

/// Fills in the chunk, each source by the thread of its number and the destinations by the next: a
/// block needs kMaxSources + 1 threads.
LV_HOST_DEVICE inline void load_combine_chunk(const CombineParameters& parameters,
                                              std::int64_t index, int thread, CombineChunk& chunk) {
  if (thread > parameters.source_count) {
    return;
  }
  const Chunk place = parameters.first.chunks[index];
  if (thread == parameters.source_count) {
    const Segment& segment = parameters.first.segments[place.segment];
    for (int d = 0; d < parameters.destination_count; ++d) {
      chunk.destinations[d] = static_cast<char*>(parameters.destinations[d][place.segment].data) +
                              place.begin * size_of(segment.dtype);
    }
    chunk.destination_dtype = segment.dtype;
    chunk.length = chunk_length(segment.length, place.begin);
    chunk.destination_count = parameters.destination_count;
    chunk.source_count = parameters.source_count;
  } else {
    const std::int32_t* rows = parameters.coefficients.row_of_segment;
    const std::int64_t row = rows == nullptr ? 0 : rows[place.segment];
    const double* values = parameters.coefficients.values + row * parameters.row_stride + thread;
    chunk.sources[thread] = pointer_into(parameters.sources[thread][place.segment], place.begin);
    for (int d = 0; d < parameters.destination_count; ++d) {
      chunk.coefficients[thread][d] = values[d * parameters.source_count];
    }
  }
}

/// The share of one of `threads` threads in a chunk with Tile destinations or fewer, in `Sum`.
template <typename Sum, int Tile>
LV_HOST_DEVICE inline void combine_thread_in(const CombineChunk& chunk, int thread, int threads,
                                             std::uint64_t (&non_finite)[Tile]) {
  constexpr int kInFlight = 16 / (static_cast<int>(sizeof(Sum)) * Tile);
  constexpr int kQuads = kInFlight > 0 ? kInFlight : 1;
  for (int first = thread; 4 * first < chunk.length; first += kQuads * threads) {
    const QuadSet set = {first, threads, chunk.length};
    Sum sums[Tile][kQuads][4] = {};
    for (int k = 0; k < chunk.source_count; ++k) {
      Sum coefficients[Tile];
      bool used = false;
      LV_UNROLL
      for (int d = 0; d < Tile; ++d) {
        coefficients[d] =
            d < chunk.destination_count ? static_cast<Sum>(chunk.coefficients[k][d]) : Sum(0);
        used = used || coefficients[d] != Sum(0);
      }
      if (!used) {
        continue;
      }
      Sum values[kQuads][4];
      load_quads(chunk.sources[k], set, values);
      LV_UNROLL
      for (int d = 0; d < Tile; ++d) {
        if (coefficients[d] == Sum(0)) {
          continue;  // 0 · NaN must not reach this destination
        }
        LV_UNROLL
        for (int q = 0; q < kQuads; ++q) {
          LV_UNROLL
          for (int i = 0; i < 4; ++i) {
            sums[d][q][i] = fused_multiply_add(coefficients[d], values[q][i], sums[d][q][i]);
          }
        }
      }
    }
    LV_UNROLL
    for (int d = 0; d < Tile; ++d) {
      if (d < chunk.destination_count) {
        non_finite[d] += store_quads(sums[d], set, chunk.destinations[d], chunk.destination_dtype);
      }
    }
  }
}

/// The share of one of `threads` threads in a chunk with Tile destinations or fewer; adds the
/// numbers of its NaN and infinite results. A thread reads all its sources before it writes, so a
/// single destination may be a source.
template <int Tile>
LV_HOST_DEVICE inline void combine_thread(const CombineChunk& chunk, int thread, int threads,
                                          std::uint64_t (&non_finite)[Tile]) {
  bool float64 = chunk.destination_dtype == DType::kFloat64;
  for (int k = 0; k < chunk.source_count; ++k) {
    float64 = float64 || chunk.sources[k].dtype == DType::kFloat64;
  }
  if (float64) {
    combine_thread_in<double>(chunk, thread, threads, non_finite);
  } else {
    combine_thread_in<float>(chunk, thread, threads, non_finite);
  }
}

}  // namespace leapverify::kernels

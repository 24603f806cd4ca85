// Argument checks of combine, and its CPU version.
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/cpu_blocks.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/launch.h>
#include <leapverify/kernels/parallel.h>
#include <leapverify/kernels/table_checks.h>
#include <leapverify/kernels/wide_vectors.h>

#include <algorithm>
#include <atomic>

namespace leapverify::kernels {
namespace {

/// Sums are formed in blocks that stay in the L1 cache.
constexpr std::int64_t kBlockElements = kMaxBlockElements;

/// With several destinations the sources should stay there too.
std::int64_t block_elements(std::size_t destinations, std::size_t sources) {
  const auto shared = static_cast<std::int64_t>(8192 / sources) / 16 * 16;
  return destinations == 1 ? kBlockElements : std::min(kBlockElements, shared);
}

/// The share of one chunk in the work; the pointers are those of its first element.
struct ChunkWork {
  std::int64_t length;
  std::size_t destination_count;
  std::size_t source_count;
  Destination destinations[kMaxDestinations];
  TypedPointer sources[kMaxSources];
  const double* coefficients;  // [destinations × sources]
};

/// sums[i] ← sums[i] + Σ_k factors[k] · elements of source k, in order, for Count sources of one
/// dtype: several at a time, so that the sums stay in registers meanwhile.
template <typename Element, typename Sum, std::size_t Count>
void add_elements(const TypedPointer* sources, const Sum* factors, std::int64_t begin,
                  std::int64_t count, Sum* sums) {
  const Element* elements[Count];
  Sum factor[Count];
  for (std::size_t k = 0; k < Count; ++k) {
    elements[k] = static_cast<const Element*>(sources[k].data) + begin;
    factor[k] = factors[k];
  }
  for (std::int64_t i = 0; i < count; ++i) {
    Sum sum = sums[i];
    for (std::size_t k = 0; k < Count; ++k) {
      sum = fused_multiply_add(factor[k], widen<Sum>(elements[k][i]), sum);
    }
    sums[i] = sum;
  }
}

template <typename Sum, std::size_t Count>
void add_sources(const TypedPointer* sources, const Sum* factors, std::int64_t begin,
                 std::int64_t count, Sum* sums) {
  switch (sources[0].dtype) {
    case DType::kFloat32:
      return add_elements<float, Sum, Count>(sources, factors, begin, count, sums);
    case DType::kBFloat16:
      return add_elements<BFloat16, Sum, Count>(sources, factors, begin, count, sums);
    case DType::kFloat16:
      return add_elements<Float16, Sum, Count>(sources, factors, begin, count, sums);
    case DType::kFloat64:
      return add_elements<double, Sum, Count>(sources, factors, begin, count, sums);
    case DType::kBytes:
      return;
  }
}

/// The sources that a destination uses, in order, without those of coefficient zero.
template <typename Sum>
struct UsedSources {
  std::size_t count = 0;
  TypedPointer sources[kMaxSources];
  Sum factors[kMaxSources];

  UsedSources(const ChunkWork& work, const double* coefficients) {
    for (std::size_t k = 0; k < work.source_count; ++k) {
      const auto factor = static_cast<Sum>(coefficients[k]);
      if (factor != Sum(0)) {
        sources[count] = work.sources[k];
        factors[count] = factor;
        ++count;
      }
    }
  }

  /// How many sources from `first` on share its dtype, up to `most`.
  std::size_t run_length(std::size_t first, std::size_t most) const {
    std::size_t length = 1;
    while (length < most && first + length < count &&
           sources[first + length].dtype == sources[first].dtype) {
      ++length;
    }
    return length;
  }

  void add(std::int64_t begin, std::int64_t elements, Sum* sums) const {
    for (std::size_t k = 0; k < count;) {
      const std::size_t length = run_length(k, 4);
      for (std::size_t j = k; j < k + length; ++j) {
        prefetch_next_block(sources[j], begin, elements);
      }
      if (length == 4) {
        add_sources<Sum, 4>(sources + k, factors + k, begin, elements, sums);
        k += 4;
      } else if (length >= 2) {
        add_sources<Sum, 2>(sources + k, factors + k, begin, elements, sums);
        k += 2;
      } else {
        add_sources<Sum, 1>(sources + k, factors + k, begin, elements, sums);
        ++k;
      }
    }
  }
};

/// Block by block into all destinations, so that a source comes from memory once and from the cache
/// after that. non_finite[d] grows by the NaN and infinite results of destination d.
template <typename Sum>
void combine_chunk(const ChunkWork& work, std::uint64_t* non_finite) {
  with_wide_vectors([&work, non_finite] {
    alignas(64) Sum sums[kBlockElements];
    const std::int64_t block = block_elements(work.destination_count, work.source_count);
    for (std::int64_t begin = 0; begin < work.length; begin += block) {
      const std::int64_t count = std::min(block, work.length - begin);
      for (std::size_t d = 0; d < work.destination_count; ++d) {
        const UsedSources<Sum> used(work, work.coefficients + d * work.source_count);
        std::fill_n(sums, count, Sum(0));
        used.add(begin, count, sums);
        non_finite[d] += store_block(sums, count, work.destinations[d], begin);
      }
    }
  });
}

void check_no_alias(const std::vector<const SegmentTable*>& destinations,
                    const std::vector<const SegmentTable*>& sources) {
  for (std::size_t d = 0; d < destinations.size(); ++d) {
    for (std::size_t k = 0; k < sources.size(); ++k) {
      for (std::size_t s = 0; s < destinations[d]->segments().size(); ++s) {
        const Segment& to = destinations[d]->segments()[s];
        LV_CHECK(to.length == 0 || to.data != sources[k]->segments()[s].data,
                 "destination " << d << " is source " << k << " in segment " << s << ", expected "
                                << destinations.size() << " destinations apart from the sources");
      }
    }
  }
}

void combine_cpu(const std::vector<const SegmentTable*>& destinations,
                 const std::vector<const SegmentTable*>& sources, const Coefficients& coefficients,
                 std::uint64_t* non_finite) {
  const SegmentTable& first = *destinations.front();
  check_rows(first, coefficients.row_of_segment, coefficients.rows);
  const bool streaming = streams(first);
  std::atomic<std::uint64_t> totals[kMaxDestinations] = {};
  parallel_sum_over_chunks(first, [&](const Chunk& chunk) -> std::uint64_t {
    const auto s = static_cast<std::size_t>(chunk.segment);
    ChunkWork work;
    work.length = chunk_length(first.segments()[s].length, chunk.begin);
    work.destination_count = destinations.size();
    work.source_count = sources.size();
    bool float64 = first.segments()[s].dtype == DType::kFloat64;
    for (std::size_t d = 0; d < destinations.size(); ++d) {
      work.destinations[d] = destination_at(destinations[d]->segments()[s], chunk.begin, streaming);
    }
    for (std::size_t k = 0; k < sources.size(); ++k) {
      work.sources[k] = pointer_into(sources[k]->segments()[s], chunk.begin);
      float64 = float64 || work.sources[k].dtype == DType::kFloat64;
    }
    const std::size_t row = coefficients.row_of_segment == nullptr
                                ? 0
                                : static_cast<std::size_t>(coefficients.row_of_segment[s]);
    work.coefficients = coefficients.values + row * destinations.size() * sources.size();
    std::uint64_t counts[kMaxDestinations] = {};
    if (float64) {
      combine_chunk<double>(work, counts);
    } else {
      combine_chunk<float>(work, counts);
    }
    end_streaming();
    for (std::size_t d = 0; d < destinations.size(); ++d) {
      totals[d] += counts[d];
    }
    return 0;
  });
  for (std::size_t d = 0; d < destinations.size() && non_finite != nullptr; ++d) {
    non_finite[d] += totals[d];
  }
}

}  // namespace

void combine(const SegmentTable& destination, const std::vector<const SegmentTable*>& sources,
             const Coefficients& coefficients, std::uint64_t* non_finite, Stream stream) {
  combine({&destination}, sources, coefficients, non_finite, stream);
}

void combine(const std::vector<const SegmentTable*>& destinations,
             const std::vector<const SegmentTable*>& sources, const Coefficients& coefficients,
             std::uint64_t* non_finite, Stream stream) {
  check_sources(sources);
  check_destinations(destinations, *sources.front());
  if (destinations.size() > 1) {
    check_no_alias(destinations, sources);
  }
  LV_CHECK(coefficients.values != nullptr, "coefficients are null");
  LV_CHECK(coefficients.rows >= 1,
           coefficients.rows << " rows of coefficients, expected 1 or more");
  if (destinations.front()->device().kind == DeviceKind::kCuda) {
    combine_cuda(destinations, sources, coefficients, non_finite, stream);
  } else {
    combine_cpu(destinations, sources, coefficients, non_finite);
  }
}

}  // namespace leapverify::kernels

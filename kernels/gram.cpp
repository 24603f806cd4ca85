// Argument checks of gram, and the CPU version that defines its meaning.
#include <leapverify/kernels/cpu_blocks.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/kernels/gram_thread.h>
#include <leapverify/kernels/launch.h>
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

/// Adds the products of elements begin … end − 1 of a segment to partial[pair].
void add_chunk(const std::vector<Segment>& sources, const Segment* reference, std::int64_t begin,
               std::int64_t end, double* partial) {
  const int source_count = static_cast<int>(sources.size());
  with_wide_vectors([&] {
    alignas(64) double differences[kMaxSources][kBlockElements];
    alignas(64) double subtracted[kBlockElements];
    for (std::int64_t block = begin; block < end; block += kBlockElements) {
      const std::int64_t count = std::min(kBlockElements, end - block);
      if (reference != nullptr) {
        widen_block(reference->data, reference->dtype, block, count, subtracted);
      }
      for (int k = 0; k < source_count; ++k) {
        const Segment& source = sources[static_cast<std::size_t>(k)];
        widen_block(source.data, source.dtype, block, count, differences[k]);
        if (reference != nullptr) {
          subtract_block(differences[k], subtracted, count);
        }
      }
      for (int j = 0; j < source_count; ++j) {
        for (int k = j; k < source_count; ++k) {
          partial[pair_index(j, k, source_count)] +=
              dot_block(differences[j], differences[k], count);
        }
      }
    }
  });
}

void gram_cpu(const std::vector<const SegmentTable*>& sources, const SegmentTable* reference,
              double* gram) {
  const int source_count = static_cast<int>(sources.size());
  const auto pairs = static_cast<std::size_t>(pair_count(source_count));
  std::vector<Segment> segments(sources.size());
  for (std::size_t s = 0; s < sources.front()->segments().size(); ++s) {
    for (std::size_t k = 0; k < sources.size(); ++k) {
      segments[k] = sources[k]->segments()[s];
    }
    std::vector<double> total(pairs, 0.0);
    const std::int64_t length = segments.front().length;
    for (std::int64_t begin = 0; begin < length; begin += kChunkElements) {
      std::vector<double> partial(pairs, 0.0);
      add_chunk(segments, reference == nullptr ? nullptr : &reference->segments()[s], begin,
                begin + chunk_length(length, begin), partial.data());
      for (std::size_t p = 0; p < pairs; ++p) {
        total[p] += partial[p];
      }
    }
    for (std::size_t p = 0; p < pairs; ++p) {
      store_gram(gram, static_cast<std::int64_t>(s), pair_at(static_cast<int>(p), source_count),
                 source_count, total[p]);
    }
  }
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
  LV_CHECK(
      workspace != nullptr || first.element_count() == 0 || first.device().kind == DeviceKind::kCpu,
      "workspace for " << first.element_count() << " elements is null");
  if (first.device().kind == DeviceKind::kCuda) {
    gram_cuda(sources, reference, gram, workspace, stream);
  } else {
    gram_cpu(sources, reference, gram);
  }
}

}  // namespace leapverify::kernels

// Spreads the chunks of a table over the threads of OpenMP, for the CPU versions.
#pragma once

#include <leapverify/kernels/segment_table.h>

#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace leapverify::kernels {

/// Fewer elements than this are not worth another thread.
inline constexpr std::int64_t kElementsPerThread = 2 * kChunkElements;

/// Calls body(task) for 0 … tasks − 1 on as many threads as OpenMP allows the caller (which is also
/// what torch::set_num_threads sets) and `elements` of work are worth; returns the sum of what it
/// returns. Which thread takes which task is not fixed, so tasks must not touch the same results;
/// the sum is of integers, for which the order does not matter. body must not throw.
template <typename Body>
std::uint64_t parallel_sum(std::int64_t tasks, std::int64_t elements, const Body& body) {
  std::uint64_t sum = 0;
#ifdef _OPENMP
  const auto threads = static_cast<int>(std::min<std::int64_t>(
      {omp_get_max_threads(), tasks, (elements + kElementsPerThread - 1) / kElementsPerThread}));
  if (threads > 1 && omp_in_parallel() == 0) {
    const std::int64_t at_once = std::clamp<std::int64_t>(tasks / (8 * threads), 1, 8);
#pragma omp parallel for num_threads(threads) schedule(dynamic, at_once) reduction(+ : sum)
    for (std::int64_t task = 0; task < tasks; ++task) {
      sum += body(task);
    }
    return sum;
  }
#else
  static_cast<void>(elements);
#endif
  for (std::int64_t task = 0; task < tasks; ++task) {
    sum += body(task);
  }
  return sum;
}

/// The same over the chunks of a table: body(chunk) with chunk.segment and chunk.begin.
template <typename Body>
std::uint64_t parallel_sum_over_chunks(const SegmentTable& table, const Body& body) {
  const SegmentView view = table.view();
  return parallel_sum(view.chunk_count, table.element_count(),
                      [&](std::int64_t index) { return body(view.chunks[index]); });
}

}  // namespace leapverify::kernels

// Spreads the chunks of a table over the threads of OpenMP, for the CPU versions.
#pragma once

#include <leapverify/kernels/segment_table.h>

#include <algorithm>
#include <cstdint>

namespace leapverify::kernels {

/// Work on no more elements than this stays on one thread.
inline constexpr std::int64_t kElementsPerThread = 2 * kChunkElements;

/// Calls body(task) for 0 … tasks − 1, for `elements` of work in all, on as many threads as OpenMP
/// gives the caller (what torch::set_num_threads sets too; one within a parallel region); returns
/// the sum of what it returns. Which thread takes which task is not fixed, so tasks must not touch
/// the same results; the sum is of integers, for which the order does not matter. body must not
/// throw.
template <typename Body>
std::uint64_t parallel_sum(std::int64_t tasks, std::int64_t elements, const Body& body) {
  std::uint64_t sum = 0;
  // Some tasks for each of many threads, and few turns where there are many tasks.
  [[maybe_unused]] const std::int64_t at_once = std::clamp<std::int64_t>(tasks / 64, 1, 8);
  [[maybe_unused]] const bool worth_threads = elements > kElementsPerThread;
#ifdef _OPENMP
#pragma omp parallel for if (worth_threads) schedule(dynamic, at_once) reduction(+ : sum)
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

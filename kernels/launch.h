// The CUDA side of each public function, called after its arguments were checked, and the shape of
// the launches. Built without CUDA, without_cuda.cpp stands in and refuses.
#pragma once

#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/average_step.h>
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/cosine.h>
#include <leapverify/kernels/host_device.h>
#include <leapverify/kernels/sample.h>
#include <leapverify/kernels/segment_table.h>

#include <cstdint>
#include <vector>

namespace leapverify::kernels {

inline constexpr int kBlockThreads = 256;
inline constexpr std::int64_t kMaxBlocks = 65536;
/// Blocks that must fit a multiprocessor at once where a kernel is short of registers: enough loads
/// in flight to hide the latency of memory, without spilling.
inline constexpr int kBlocksPerProcessor = 3;

/// Blocks of a launch over `work` items; block b does the items b, b + blocks, b + 2 · blocks, …
inline std::int64_t block_count(std::int64_t work) { return work < kMaxBlocks ? work : kMaxBlocks; }

/// Elements of the chunk that starts at `begin` of a segment of `length` elements.
LV_HOST_DEVICE inline std::int32_t chunk_length(std::int64_t length, std::int64_t begin) {
  const std::int64_t rest = length - begin;
  return static_cast<std::int32_t>(rest < kChunkElements ? rest : kChunkElements);
}

void adam_direction_cuda(const SegmentTable& destination, const SegmentTable& weights,
                         const SegmentTable& exp_avg, const SegmentTable* exp_avg_sq,
                         const AdamRows& rows, std::uint64_t* non_finite, Stream stream);

/// Without `takes_in` the weights are placed only.
void average_step_cuda(const SegmentTable& weights, const SegmentTable& iterate,
                       const SegmentTable& average, const AverageStep& step, bool takes_in,
                       Stream stream);

void combine_cuda(const std::vector<const SegmentTable*>& destinations,
                  const std::vector<const SegmentTable*>& sources, const Coefficients& coefficients,
                  std::uint64_t* non_finite, Stream stream);

void copy_cuda(const SegmentTable& destination, const SegmentTable& source, Stream stream);

/// `shape_term` is added to *digest together with the elements.
void checksum_cuda(const SegmentTable& table, std::uint64_t shape_term, std::uint64_t* digest,
                   Stream stream);

void cosine_cuda(const MatrixView& a, const MatrixView& b, double* cosines, Device device,
                 Stream stream);

void gram_cuda(const std::vector<const SegmentTable*>& sources, const SegmentTable* reference,
               double* gram, double* workspace, Stream stream);

void sample_cuda(const SegmentTable& samples, const SegmentTable& source, const SampleStep& step,
                 Stream stream);

}  // namespace leapverify::kernels

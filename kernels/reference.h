// What each kernel computes, written down as plainly as possible: one element after the other, sums
// in float64. These define the operations; the CPU and CUDA versions are tested against them.
// Tables must lie in the CPU's memory; arguments are not checked.
#pragma once

#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/average_step.h>
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/cosine.h>
#include <leapverify/kernels/sample.h>
#include <leapverify/kernels/segment_table.h>

#include <cstdint>
#include <vector>

namespace leapverify::kernels::reference {

/// Element `index` of an array of any dtype; bytes count as 0 … 255.
double element(const void* data, DType dtype, std::int64_t index);

/// [length] Σ_k coefficients[k] · source_k of one segment; sources with coefficient zero are left
/// out.
std::vector<double> combine(const std::vector<const SegmentTable*>& sources, std::size_t segment,
                            const std::vector<double>& coefficients);

/// [length] of one segment; see kernels/adam_direction.h for the formula.
std::vector<double> adam_direction(const SegmentTable& weights, const SegmentTable& exp_avg,
                                   const SegmentTable* exp_avg_sq, std::size_t segment,
                                   const AdamRow& row);

/// [length] each, of one segment; see kernels/average_step.h for the formulas, here without rounding
/// in between.
struct AverageStepResult {
  std::vector<double> weights;
  std::vector<double> iterate;
  std::vector<double> average;
};
AverageStepResult average_step(const SegmentTable& weights, const SegmentTable& iterate,
                               const SegmentTable& average, std::size_t segment,
                               const AverageStep& step);

/// [⌈length ÷ spacing⌉] of one segment; see kernels/sample.h for the formula.
std::vector<double> sample(const SegmentTable& samples, const SegmentTable& source,
                           std::size_t segment, const SampleStep& step);

/// [sources × sources] of one segment.
std::vector<double> gram(const std::vector<const SegmentTable*>& sources,
                         const SegmentTable* reference, std::size_t segment);

/// [rows].
std::vector<double> cosine(const MatrixView& a, const MatrixView& b);

/// The digest of the table, from zero.
std::uint64_t checksum(const SegmentTable& table);

}  // namespace leapverify::kernels::reference

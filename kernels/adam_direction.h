// Where the optimizer's own momentum would carry the weights: the momentum prediction.
#pragma once

#include <leapverify/kernels/segment_table.h>

#include <cstdint>

namespace leapverify::kernels {

/// The scalars of a prediction for the tensors of one param group.
struct AdamRow {
  double keep = 1.0;        ///< factor of the weights
  double step = 0.0;        ///< factor of the direction
  double root_scale = 1.0;  ///< factor of √exp_avg_sq
  double epsilon = 0.0;     ///< added to the denominator

  /// `horizon` ≥ 0 steps ahead with Adam or AdamW (Kingma and Ba 2015; Loshchilov and Hutter 2019)
  /// after `steps_done` ≥ 1 steps: step = horizon · lr / (1 − β1^t), root_scale = 1/√(1 − β2^t),
  /// keep = (1 − lr · weight_decay)^horizon, the decay being AdamW's (0 for Adam).
  /// Throws ContractError outside of these ranges and for β outside [0, 1).
  static AdamRow adam(double horizon, double lr, double beta1, double beta2, double epsilon,
                      double weight_decay, std::int64_t steps_done);

  /// `horizon` ≥ 0 steps ahead with SGD along its momentum buffer: step = horizon · lr.
  static AdamRow sgd_momentum(double horizon, double lr);
};

/// Rows in the memory of the tables' device.
struct AdamRows {
  /// [rows].
  const AdamRow* values = nullptr;
  std::int64_t rows = 1;
  /// [segments]: the row of each segment, every entry in [0, rows); null means row 0 for all.
  const std::int32_t* row_of_segment = nullptr;
};

/// destination_i ← keep · θ_i − step · m_i / (root_scale · √v_i + epsilon) with θ the weights, m =
/// exp_avg and v = exp_avg_sq. A null exp_avg_sq leaves the denominator out: the prediction of SGD
/// with momentum, m being its buffer.
///
/// Shapes: all tables hold segments of the same lengths in the same order; dtypes float32,
/// bfloat16, float16 and float64 in any mix. Moments in float16 lose small v to zero, and the step
/// becomes m / epsilon: the artefact behind the published "momentum catastrophe" (docs of the
/// method: arXiv 2602.19580).
///
/// Values: computed in float64 where any table's segment is float64 and in float32 otherwise, with
/// the scalars rounded to that type; every operation is rounded to nearest, two of them being fused
/// multiply-adds: denominator = fma(root_scale, √v, epsilon), result = fma(−step, m / denominator,
/// keep · θ). Rounded once to the destination. A NaN result is always the same quiet NaN. Horizon 0
/// gives back the weights wherever m / denominator is finite (−0 may become +0).
///
/// Counter: `non_finite`, when not null, is increased by the number of NaN or infinite results; it
/// lies in the device's memory and the caller sets it to zero.
///
/// Aliasing: the destination may be the weights or a moment (same pointers and dtype); partial
/// overlap is undefined.
///
/// Stream: runs in `stream`, does not synchronise, may be captured into a CUDA graph. Allocates
/// nothing.
///
/// Determinism: bitwise the same on every run, on CPU and CUDA, for any number of threads.
///
/// Errors: ContractError on mismatched shapes, devices, dtypes or counts, and on the CPU on a row
/// outside [0, rows); DeviceError on a failed launch.
void adam_direction(const SegmentTable& destination, const SegmentTable& weights,
                    const SegmentTable& exp_avg, const SegmentTable* exp_avg_sq,
                    const AdamRows& rows, std::uint64_t* non_finite = nullptr,
                    Stream stream = nullptr);

}  // namespace leapverify::kernels

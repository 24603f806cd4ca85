// The last few snapshots of the weights, in memory allocated once.
#pragma once

#include <leapverify/runtime/policy/options.h>
#include <leapverify/runtime/tensor_list.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace leapverify {

/// A ring of snapshots of one list of parameters.
///
/// Memory, in bytes per parameter for n snapshots: float32 4·n (float64 parameters 8·n);
/// bfloat16_deltas 4 + 2·(n − 1); host none on a GPU, and the parameters' own size n times in pinned
/// memory of the host.
///
/// Error of bfloat16_deltas: the newest snapshot is exact, and each older one is kept as its
/// difference to the next newer, rounded once to bfloat16 (relative error at most 2^-8 = 0.4 %) and
/// never again. A combination with coefficients c that sum to 1 is θ_0 + Σ_j C_j · δ_j, C_j = c_j +
/// c_{j+1} + …, so it differs from the exact one by at most 2^-8 · Σ_j |C_j| · |δ_j| in each element.
class SnapshotStore {
 public:
  /// Allocates `capacity` snapshots.
  SnapshotStore(const TensorList& parameters, std::int64_t capacity,
                SnapshotFormat format = SnapshotFormat::kFloat32);
  ~SnapshotStore();
  SnapshotStore(const SnapshotStore&) = delete;
  SnapshotStore& operator=(const SnapshotStore&) = delete;

  /// Takes a snapshot, in place of the oldest one when all places are full. Neither synchronises
  /// nor allocates. In format host the copy to the host runs beside what the current stream does
  /// next; the parameters must not change before let_weights_change().
  void record(std::int64_t step);

  /// Makes the current stream wait for copies of the parameters that are still under way.
  void let_weights_change() const;

  void clear() { steps_.clear(); }

  /// Carries all snapshots along when the weights were moved from `from` to `to` by other means than
  /// training, so that what was learned of their direction stays.
  void shift(const TensorList& from, const TensorList& to) const;

  /// Steps of the snapshots held, newest first.
  const std::vector<std::int64_t>& steps() const { return steps_; }
  std::int64_t size() const { return static_cast<std::int64_t>(steps_.size()); }

  /// destination ← Σ_k coefficients[row][k] · k-th newest snapshot, with one row for all tensors or
  /// one row for each; with an `origin` its tensors + Σ_k … − the newest snapshot: the same move from
  /// elsewhere. Returns the number of results that are NaN or infinite. Synchronises.
  std::int64_t combine(const TensorList& destination, const std::vector<double>& coefficients,
                       std::int64_t rows, const TensorList* origin = nullptr) const;

  /// [segments × count × count] inner products by tensor, of the differences of the `count` newest
  /// snapshots to the newest (kernels/gram.h). Synchronises.
  std::vector<double> gram(std::int64_t count) const;

  /// Bytes on the parameters' device.
  std::int64_t byte_count() const;

  /// For a checkpoint: the i-th newest snapshot as it is stored. Synchronises in format host.
  const TensorList& stored(std::int64_t i) const;

  /// For a checkpoint: makes room for a snapshot older than all held, to be filled by the caller
  /// with what stored() gave.
  const TensorList& restore_older(std::int64_t step);

 private:
  class HostCopies;

  /// Number of places for snapshots.
  std::int64_t capacity() const;
  /// Position in ring_ of its i-th newest entry.
  std::size_t position(std::int64_t i) const;
  const TensorList& at(std::int64_t i) const { return ring_[position(i)]; }
  bool is_delta() const { return format_ == SnapshotFormat::kBFloat16Deltas; }

  const TensorList* parameters_;
  SnapshotFormat format_;
  // Format bfloat16_deltas: the newest snapshot has a place of its own, and ring_ holds at `i` − 1
  // the i-th newest's difference to the next newer.
  TensorList newest_;
  std::vector<TensorList> ring_;
  std::size_t first_ = 0;
  std::vector<std::int64_t> steps_;
  // Coefficients of a plain copy and of a difference, on the device.
  at::Tensor copy_;
  at::Tensor difference_;
  std::unique_ptr<HostCopies> host_copies_;
};

}  // namespace leapverify

// The last few snapshots of the weights, in float32 or wider, in memory allocated once.
#pragma once

#include <leapverify/runtime/tensor_list.h>

#include <cstdint>
#include <vector>

namespace leapverify {

/// A ring of snapshots of one list of parameters.
class SnapshotStore {
 public:
  /// Allocates `capacity` snapshots on the parameters' device.
  SnapshotStore(const TensorList& parameters, std::int64_t capacity);

  /// Takes a snapshot, in place of the oldest one when all places are full. Does not
  /// synchronise.
  void record(std::int64_t step);

  void clear() { steps_.clear(); }

  /// Steps of the snapshots held, newest first.
  const std::vector<std::int64_t>& steps() const { return steps_; }
  std::int64_t size() const { return static_cast<std::int64_t>(steps_.size()); }

  /// The i-th newest snapshot.
  const TensorList& snapshot(std::int64_t i) const;

  /// [segments × count × count] inner products by tensor, of the differences of the `count` newest
  /// snapshots to the newest (kernels/gram.h). Synchronises.
  std::vector<double> gram(std::int64_t count) const;

  std::int64_t byte_count() const;

  /// For a checkpoint: makes room for a snapshot older than all held, to be filled by the caller.
  const TensorList& restore_older(std::int64_t step);

 private:
  const TensorList* parameters_;
  std::vector<TensorList> ring_;
  // Position in ring_ of the newest snapshot.
  std::int64_t newest_ = 0;
  std::vector<std::int64_t> steps_;
};

}  // namespace leapverify

// Writes candidates into the live weights and buffers, and takes them back unless told otherwise.
#pragma once

#include <leapverify/runtime/snapshot_store.h>
#include <leapverify/runtime/tensor_list.h>

#include <cstdint>
#include <vector>

namespace leapverify {

struct Momentum;
namespace policy {
struct Prediction;
}

/// From construction to commit() or destruction the weights may hold candidates. Destruction
/// without a commit restores every byte, also while an exception passes. Storage addresses never
/// change, and a rollback leaves autograd's version counters alone.
class LeapTransaction {
 public:
  /// `backup` is a list like `weights`, allocated once, that holds them meanwhile; likewise for
  /// buffers that candidates change, where there are any.
  LeapTransaction(const TensorList& weights, const TensorList& backup,
                  const TensorList* buffers = nullptr, const TensorList* buffer_backup = nullptr);
  ~LeapTransaction();
  LeapTransaction(const LeapTransaction&) = delete;
  LeapTransaction& operator=(const LeapTransaction&) = delete;

  /// Writes Σ_k coefficients[k] · k-th newest snapshot into the weights; returns the number of
  /// results that are NaN or infinite. Synchronises.
  std::int64_t write(const policy::Prediction& prediction, const SnapshotStore& snapshots);

  /// Writes what the weights were when the transaction began, moved as the prediction moves the
  /// newest snapshot; returns and synchronises likewise.
  std::int64_t move(const policy::Prediction& prediction, const SnapshotStore& snapshots);

  /// Writes what the weights were when the transaction began, carried along the momentum; returns
  /// and synchronises likewise.
  std::int64_t write(const Momentum& momentum);

  /// Writes a list of the weights' shapes into them.
  void write(const TensorList& source);

  /// To be called before the weights or the buffers are changed by other means.
  void let_change() { changed_ = true; }

  /// Writes the weights as they were, each times `factor`.
  void scale(double factor);

  /// Restores weights and buffers; further candidates may follow.
  void roll_back();

  /// Keeps what weights and buffers hold now.
  void commit();

 private:
  void write_multiple(const TensorList& source, double factor);

  const TensorList& weights_;
  const TensorList& backup_;
  const TensorList* buffers_;
  const TensorList* buffer_backup_;
  bool changed_ = false;
};

}  // namespace leapverify

#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/leap_transaction.h>
#include <leapverify/runtime/policy/predictor.h>
#include <torch/torch.h>

#include <cstdio>

namespace leapverify {

LeapTransaction::LeapTransaction(const TensorList& weights, const TensorList& backup)
    : weights_(weights), backup_(backup) {
  backup_.copy_from(weights_);
}

LeapTransaction::~LeapTransaction() {
  try {
    roll_back();
  } catch (const std::exception& error) {
    // Only a device that has failed for good lands here, and it ends the run at the next step.
    std::fprintf(stderr, "leapverify: rollback failed: %s\n", error_text(error).c_str());
  }
}

std::int64_t LeapTransaction::write(const policy::Prediction& prediction,
                                    const SnapshotStore& snapshots) {
  changed_ = true;
  return snapshots.combine(weights_, prediction.coefficients, prediction.rows);
}

void LeapTransaction::roll_back() {
  if (!changed_) return;
  weights_.copy_from(backup_);
  changed_ = false;
}

void LeapTransaction::commit() {
  for (const at::Tensor& tensor : weights_.tensors()) {
    // Graphs that still hold the old weights must notice, as after any in-place update.
    tensor.unsafeGetTensorImpl()->bump_version();
  }
  changed_ = false;
}

}  // namespace leapverify

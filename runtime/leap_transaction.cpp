#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/error.h>
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
  const auto segments = static_cast<std::int64_t>(weights_.tensors().size());
  const auto columns = static_cast<std::int64_t>(prediction.coefficients.size()) / prediction.rows;
  LV_CHECK(columns <= snapshots.size(),
           columns << " coefficients for " << snapshots.size() << " snapshots");
  LV_CHECK(prediction.rows == 1 || prediction.rows == segments,
           prediction.rows << " rows of coefficients for " << segments << " tensors");

  std::vector<const kernels::SegmentTable*> sources;
  for (std::int64_t i = 0; i < columns; ++i) sources.push_back(&snapshots.snapshot(i).table());
  const at::Device device = weights_.torch_device();
  const at::Tensor values = at::tensor(prediction.coefficients, at::kDouble).to(device);
  const at::Tensor non_finite = at::zeros({1}, at::TensorOptions().dtype(at::kLong).device(device));
  kernels::Coefficients coefficients{values.data_ptr<double>(), prediction.rows, nullptr};
  at::Tensor rows;
  if (prediction.rows > 1) {
    rows = at::arange(segments, at::TensorOptions().dtype(at::kInt).device(device));
    coefficients.row_of_segment = rows.data_ptr<std::int32_t>();
  }
  changed_ = true;
  kernels::combine(weights_.table(), sources, coefficients,
                   static_cast<std::uint64_t*>(non_finite.data_ptr()), weights_.stream());
  return non_finite.item<std::int64_t>();
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

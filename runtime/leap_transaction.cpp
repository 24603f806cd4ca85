#include <leapverify/kernels/combine.h>
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/leap_transaction.h>
#include <leapverify/runtime/momentum.h>
#include <leapverify/runtime/policy/predictor.h>
#include <torch/torch.h>

#include <cstdio>

namespace leapverify {

LeapTransaction::LeapTransaction(const TensorList& weights, const TensorList& backup,
                                 const TensorList* buffers, const TensorList* buffer_backup)
    : weights_(weights), backup_(backup), buffers_(buffers), buffer_backup_(buffer_backup) {
  backup_.copy_from(weights_);
  if (buffers_ != nullptr) buffer_backup_->copy_from(*buffers_);
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

std::int64_t LeapTransaction::move(const policy::Prediction& prediction,
                                   const SnapshotStore& snapshots) {
  changed_ = true;
  return snapshots.combine(weights_, prediction.coefficients, prediction.rows, &backup_);
}

std::int64_t LeapTransaction::write(const Momentum& momentum) {
  const at::Device device = weights_.torch_device();
  const auto count = static_cast<std::int64_t>(momentum.rows.size());
  // An AdamRow is four doubles.
  const at::Tensor rows =
      at::from_blob(const_cast<kernels::AdamRow*>(momentum.rows.data()), {count, 4}, at::kDouble)
          .to(device, /*non_blocking=*/false, /*copy=*/true);
  const at::Tensor row_of_segment =
      at::arange(count, at::TensorOptions().dtype(at::kInt).device(device));
  const at::Tensor non_finite = at::zeros({1}, at::TensorOptions().dtype(at::kLong).device(device));
  const kernels::SegmentTable* second =
      momentum.exp_avg_sq.empty() ? nullptr : &momentum.exp_avg_sq.table();
  changed_ = true;
  kernels::adam_direction(weights_.table(), backup_.table(), momentum.exp_avg.table(), second,
                          {reinterpret_cast<const kernels::AdamRow*>(rows.data_ptr<double>()),
                           count, row_of_segment.data_ptr<std::int32_t>()},
                          static_cast<std::uint64_t*>(non_finite.data_ptr()), weights_.stream());
  return non_finite.item<std::int64_t>();
}

void LeapTransaction::write(const TensorList& source) { write_multiple(source, 1); }

void LeapTransaction::scale(double factor) { write_multiple(backup_, factor); }

void LeapTransaction::write_multiple(const TensorList& source, double factor) {
  const at::Tensor coefficient = at::full({1}, factor, at::kDouble).to(weights_.torch_device());
  changed_ = true;
  kernels::combine(weights_.table(), {&source.table()}, {coefficient.data_ptr<double>()}, nullptr,
                   weights_.stream());
}

void LeapTransaction::roll_back() {
  if (!changed_) return;
  weights_.copy_from(backup_);
  if (buffers_ != nullptr) buffers_->copy_from(*buffer_backup_);
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

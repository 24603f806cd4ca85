#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/runtime/snapshot_store.h>
#include <torch/torch.h>

namespace leapverify {

SnapshotStore::SnapshotStore(const TensorList& parameters, std::int64_t capacity)
    : parameters_(&parameters) {
  LV_CHECK(capacity >= 1, "capacity of " << capacity << " snapshots");
  for (std::int64_t i = 0; i < capacity; ++i) {
    ring_.push_back(parameters.allocate_like(TensorList::Precision::kAtLeastFloat32));
  }
}

void SnapshotStore::record(std::int64_t step) {
  const auto capacity = static_cast<std::int64_t>(ring_.size());
  newest_ = (newest_ + capacity - 1) % capacity;
  const TensorList& target = ring_[static_cast<std::size_t>(newest_)];
  const at::Tensor one =
      at::ones({1}, at::TensorOptions().dtype(at::kDouble).device(parameters_->torch_device()));
  kernels::combine(target.table(), {&parameters_->table()}, {one.data_ptr<double>()}, nullptr,
                   parameters_->stream());
  if (size() == capacity) steps_.pop_back();
  steps_.insert(steps_.begin(), step);
}

const TensorList& SnapshotStore::snapshot(std::int64_t i) const {
  LV_CHECK(i >= 0 && i < size(), "snapshot " << i << " of " << size());
  const auto capacity = static_cast<std::int64_t>(ring_.size());
  return ring_[static_cast<std::size_t>((newest_ + i) % capacity)];
}

std::vector<double> SnapshotStore::gram(std::int64_t count) const {
  std::vector<const kernels::SegmentTable*> sources;
  for (std::int64_t i = 0; i < count; ++i) sources.push_back(&snapshot(i).table());
  const auto segments = static_cast<std::int64_t>(parameters_->tensors().size());
  const auto options = at::TensorOptions().dtype(at::kDouble).device(parameters_->torch_device());
  const at::Tensor products = at::zeros({segments * count * count}, options);
  const at::Tensor workspace =
      at::empty({kernels::gram_workspace(*sources[0], static_cast<int>(count))}, options);
  kernels::gram(sources, sources[0], products.data_ptr<double>(), workspace.data_ptr<double>(),
                parameters_->stream());
  const at::Tensor host = products.cpu();
  const double* data = host.data_ptr<double>();
  return {data, data + host.numel()};
}

std::int64_t SnapshotStore::byte_count() const {
  return static_cast<std::int64_t>(ring_.size()) * ring_.front().byte_count();
}

const TensorList& SnapshotStore::restore_older(std::int64_t step) {
  LV_CHECK(size() < static_cast<std::int64_t>(ring_.size()),
           "a checkpoint holds more than " << ring_.size() << " snapshots");
  steps_.push_back(step);
  return snapshot(size() - 1);
}

}  // namespace leapverify

// Recording, combining and multiplying snapshots in each of the formats.
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/runtime/snapshot_store.h>
#include <torch/torch.h>
#ifdef LEAPVERIFY_CUDA
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#endif

#include <algorithm>
#include <utility>

namespace leapverify {

#ifdef LEAPVERIFY_CUDA

/// Copies to pinned memory on a stream of their own, beside the forward and backward pass.
class SnapshotStore::HostCopies {
 public:
  explicit HostCopies(at::Device device)
      : device_(device.index()), stream_(c10::cuda::getStreamFromPool(false, device.index())) {}

  void start(const TensorList& destination, const TensorList& source) {
    ready_.record(c10::cuda::getCurrentCUDAStream(device_));
    ready_.block(stream_);
    const c10::cuda::CUDAStreamGuard guard(stream_);
    for (std::size_t i = 0; i < source.tensors().size(); ++i) {
      const at::Tensor from = source.tensors()[i].detach();
      destination.tensors()[i].copy_(from, /*non_blocking=*/true);
      // Freed meanwhile, the memory must not be handed out again before the copy has ended.
      c10::cuda::CUDACachingAllocator::recordStream(from.storage().data_ptr(), stream_);
    }
    copied_.record(stream_);
  }
  void let_current_stream_wait() { copied_.block(c10::cuda::getCurrentCUDAStream(device_)); }
  void finish() { copied_.synchronize(); }

 private:
  at::DeviceIndex device_;
  c10::cuda::CUDAStream stream_;
  at::cuda::CUDAEvent ready_;
  at::cuda::CUDAEvent copied_;
};

#else

class SnapshotStore::HostCopies {
 public:
  explicit HostCopies(at::Device) {}
  void start(const TensorList&, const TensorList&) {}
  void let_current_stream_wait() {}
  void finish() {}
};

#endif

SnapshotStore::SnapshotStore(const TensorList& parameters, std::int64_t capacity,
                             SnapshotFormat format)
    : parameters_(&parameters), format_(format) {
  LV_CHECK(capacity >= 1, "capacity of " << capacity << " snapshots");
  const auto options = at::TensorOptions().dtype(at::kDouble).device(parameters.torch_device());
  copy_ = at::ones({1}, options);
  difference_ = at::tensor({1.0, -1.0}, at::kDouble).to(parameters.torch_device());
  if (is_delta()) newest_ = parameters.allocate_like(TensorList::Precision::kAtLeastFloat32);
  for (std::int64_t i = is_delta() ? 1 : 0; i < capacity; ++i) {
    ring_.push_back(format == SnapshotFormat::kHost
                        ? parameters.allocate_on_host()
                        : parameters.allocate_like(is_delta()
                                                       ? TensorList::Precision::kBFloat16
                                                       : TensorList::Precision::kAtLeastFloat32));
  }
  if (format == SnapshotFormat::kHost && parameters.torch_device().is_cuda()) {
    host_copies_ = std::make_unique<HostCopies>(parameters.torch_device());
  }
}

SnapshotStore::~SnapshotStore() = default;

std::int64_t SnapshotStore::capacity() const {
  return static_cast<std::int64_t>(ring_.size()) + (is_delta() ? 1 : 0);
}

std::size_t SnapshotStore::position(std::int64_t i) const {
  return (first_ + static_cast<std::size_t>(i)) % ring_.size();
}

void SnapshotStore::record(std::int64_t step) {
  const kernels::Stream stream = parameters_->stream();
  const auto copy_into = [&](const TensorList& destination) {
    kernels::combine(destination.table(), {&parameters_->table()}, {copy_.data_ptr<double>()},
                     nullptr, stream);
  };
  // The place of the oldest entry. Only when all has gone well does it become the first one.
  const std::size_t next =
      ring_.empty() ? 0 : position(static_cast<std::int64_t>(ring_.size()) - 1);
  if (is_delta()) {
    if (size() > 0 && !ring_.empty()) {
      kernels::combine(ring_[next].table(), {&newest_.table(), &parameters_->table()},
                       {difference_.data_ptr<double>()}, nullptr, stream);
    }
    copy_into(newest_);
  } else if (host_copies_) {
    host_copies_->start(ring_[next], *parameters_);
  } else if (format_ == SnapshotFormat::kHost) {
    ring_[next].copy_from(*parameters_);
  } else {
    copy_into(ring_[next]);
  }
  first_ = next;
  if (size() == capacity()) steps_.pop_back();
  steps_.insert(steps_.begin(), step);
}

void SnapshotStore::let_weights_change() const {
  if (host_copies_ && !steps_.empty()) host_copies_->let_current_stream_wait();
}

void SnapshotStore::shift(const TensorList& from, const TensorList& to) const {
  if (host_copies_) host_copies_->finish();
  if (is_delta()) {
    leapverify::shift(newest_, from, to);
    return;
  }
  for (std::int64_t i = 0; i < size(); ++i) leapverify::shift(at(i), from, to);
}

std::int64_t SnapshotStore::combine(const TensorList& destination,
                                    const std::vector<double>& coefficients, std::int64_t rows,
                                    const TensorList* origin) const {
  const auto segments = static_cast<std::int64_t>(destination.tensors().size());
  LV_CHECK(rows == 1 || rows == segments,
           rows << " rows of coefficients for " << segments << " tensors");
  const auto columns = static_cast<std::int64_t>(coefficients.size()) / rows;
  LV_CHECK(columns >= 1 && columns <= size(),
           columns << " coefficients for " << size() << " snapshots");
  std::vector<double> factors = coefficients;
  std::vector<const kernels::SegmentTable*> sources;
  if (is_delta()) {
    // Σ_k c_k·θ_k = (Σ_k c_k)·θ_0 + Σ_j (c_j + c_{j+1} + …)·δ_j.
    for (std::int64_t row = 0; row < rows; ++row) {
      double* c = factors.data() + row * columns;
      for (std::int64_t k = columns - 1; k > 0; --k) c[k - 1] += c[k];
    }
    sources.push_back(&newest_.table());
  }
  for (std::int64_t i = 0; static_cast<std::int64_t>(sources.size()) < columns; ++i) {
    sources.push_back(&at(i).table());
  }
  if (origin != nullptr) {
    // One more source, added in full, from which the newest snapshot is taken away again.
    std::vector<double> extended;
    for (std::int64_t row = 0; row < rows; ++row) {
      const double* c = factors.data() + row * columns;
      extended.insert(extended.end(), c, c + columns);
      extended[extended.size() - static_cast<std::size_t>(columns)] -= 1;
      extended.push_back(1);
    }
    factors = std::move(extended);
    sources.push_back(&origin->table());
  }
  const at::Device device = parameters_->torch_device();
  const at::Tensor values = at::tensor(factors, at::kDouble).to(device);
  const at::Tensor non_finite = at::zeros({1}, at::TensorOptions().dtype(at::kLong).device(device));
  kernels::Coefficients table{values.data_ptr<double>(), rows, nullptr};
  at::Tensor row_of_segment;
  if (rows > 1) {
    row_of_segment = at::arange(segments, at::TensorOptions().dtype(at::kInt).device(device));
    table.row_of_segment = row_of_segment.data_ptr<std::int32_t>();
  }
  let_weights_change();
  kernels::combine(destination.table(), sources, table,
                   static_cast<std::uint64_t*>(non_finite.data_ptr()), parameters_->stream());
  return non_finite.item<std::int64_t>();
}

std::vector<double> SnapshotStore::gram(std::int64_t count) const {
  LV_CHECK(count >= 1 && count <= size(), "Gram matrix of " << count << " of " << size());
  const auto segments = static_cast<std::int64_t>(parameters_->tensors().size());
  std::vector<double> result(static_cast<std::size_t>(segments * count * count), 0.0);
  const std::int64_t source_count = is_delta() ? count - 1 : count;
  if (source_count == 0 || segments == 0) return result;
  std::vector<const kernels::SegmentTable*> sources;
  for (std::int64_t i = 0; i < source_count; ++i) sources.push_back(&at(i).table());
  const auto options = at::TensorOptions().dtype(at::kDouble).device(parameters_->torch_device());
  const at::Tensor products = at::empty({segments, source_count, source_count}, options);
  const at::Tensor workspace =
      at::empty({kernels::gram_workspace(*sources[0], static_cast<int>(source_count))}, options);
  let_weights_change();
  kernels::gram(sources, is_delta() ? nullptr : sources[0], products.data_ptr<double>(),
                workspace.data_ptr<double>(), parameters_->stream());
  at::Tensor host = products.cpu();
  const std::int64_t offset = count - source_count;
  // A snapshot's difference to the newest is the sum of the deltas up to it.
  if (is_delta()) host = host.cumsum(1).cumsum(2);
  const auto entries = host.accessor<double, 3>();
  for (std::int64_t s = 0; s < segments; ++s) {
    for (std::int64_t j = 0; j < source_count; ++j) {
      for (std::int64_t k = 0; k < source_count; ++k) {
        const std::int64_t index = (s * count + j + offset) * count + k + offset;
        result[static_cast<std::size_t>(index)] = entries[s][j][k];
      }
    }
  }
  return result;
}

std::int64_t SnapshotStore::byte_count() const {
  if (host_copies_) return 0;
  const std::int64_t each = ring_.empty() ? 0 : ring_.front().byte_count();
  return newest_.byte_count() + static_cast<std::int64_t>(ring_.size()) * each;
}

const TensorList& SnapshotStore::stored(std::int64_t i) const {
  LV_CHECK(i >= 0 && i < size(), "snapshot " << i << " of " << size());
  if (host_copies_) host_copies_->finish();
  if (!is_delta()) return at(i);
  return i == 0 ? newest_ : at(i - 1);
}

const TensorList& SnapshotStore::restore_older(std::int64_t step) {
  LV_CHECK(size() < capacity(), "a checkpoint holds more than " << capacity() << " snapshots");
  steps_.push_back(step);
  return stored(size() - 1);
}

}  // namespace leapverify

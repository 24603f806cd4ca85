// Torch's side of the kernels: a list of tensors as a segment table on their device.
#pragma once

#include <ATen/core/Tensor.h>
#include <leapverify/kernels/device.h>
#include <leapverify/kernels/segment_table.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace leapverify {

/// A fixed list of dense tensors on one device, in any order of dimensions (channels_last too). The
/// table is rebuilt, and copied to the device, only when a storage has moved since the last call.
class TensorList {
 public:
  TensorList() = default;

  /// Throws ContractError for tensors with gaps or overlaps, or that lie on several devices.
  explicit TensorList(std::vector<at::Tensor> tensors);

  const std::vector<at::Tensor>& tensors() const { return tensors_; }
  kernels::Device device() const { return device_; }
  at::Device torch_device() const { return torch_device_; }
  bool empty() const { return tensors_.empty(); }

  /// Bytes of all tensors.
  std::int64_t byte_count() const;

  /// Throws ContractError when a tensor has got another memory layout since construction.
  const kernels::SegmentTable& table() const;

  /// A list of the same shapes and layouts in one block of memory on the same device: in the same
  /// dtypes, with every floating dtype widened to at least float32, or all in bfloat16. Contents are
  /// undefined.
  enum class Precision { kSame, kAtLeastFloat32, kBFloat16 };
  TensorList allocate_like(Precision precision) const;

  /// The same in the host's memory, pinned where the list lies on a GPU: kernels of that GPU take it
  /// as if it lay there.
  TensorList allocate_on_host() const;

  /// 64-bit digest of all contents (kernels/checksum.h). Synchronises.
  std::uint64_t digest() const;

  /// Copies all bytes of `source`, a list of the same shapes and dtypes.
  void copy_from(const TensorList& source) const;

  /// The stream that torch uses on this device at present.
  kernels::Stream stream() const;

 private:
  bool moved() const;
  TensorList allocate(Precision precision, const at::TensorOptions& memory) const;

  std::vector<at::Tensor> tensors_;
  std::vector<std::vector<std::int64_t>> strides_;
  // Where kernels on the list run.
  at::Device torch_device_ = at::kCPU;
  kernels::Device device_;
  mutable std::optional<kernels::SegmentTable> table_;
  // Holds the placed table on a CUDA device.
  mutable at::Tensor placed_;
};

/// destination ← destination + to − from, in one launch; lists of the same shapes.
void shift(const TensorList& destination, const TensorList& from, const TensorList& to);

/// ⟨a, b − c⟩ over all tensors: sums in float64. Synchronises.
double inner_product(const TensorList& a, const TensorList& b, const TensorList& c);

/// ‖a − b‖ over all tensors, or ‖a‖ where b is null: sums in float64. Synchronises.
double distance(const TensorList& a, const TensorList* b);

}  // namespace leapverify

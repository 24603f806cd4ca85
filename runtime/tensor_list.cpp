// Building segment tables of tensors, and the copies, digests, moves and distances that need nothing
// else.
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/copy.h>
#include <leapverify/kernels/error.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/runtime/tensor_list.h>
#include <torch/torch.h>
#ifdef LEAPVERIFY_CUDA
#include <c10/cuda/CUDAStream.h>
#endif

#include <cmath>
#include <utility>

namespace leapverify {
namespace {

// Blocks of an allocated list start at multiples of this, for vector loads.
constexpr std::int64_t kAlignment = 256;

kernels::DType dtype_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return kernels::DType::kFloat32;
    case at::kBFloat16:
      return kernels::DType::kBFloat16;
    case at::kHalf:
      return kernels::DType::kFloat16;
    case at::kDouble:
      return kernels::DType::kFloat64;
    default:
      return kernels::DType::kBytes;
  }
}

kernels::Segment segment_of(const at::Tensor& tensor) {
  const kernels::DType dtype = dtype_of(tensor);
  const bool bytes = dtype == kernels::DType::kBytes;
  const auto length = static_cast<std::int64_t>(bytes ? tensor.nbytes() : tensor.numel());
  return {length == 0 ? nullptr : tensor.data_ptr(), length, dtype};
}

at::ScalarType in_precision(at::ScalarType dtype, TensorList::Precision precision) {
  switch (precision) {
    case TensorList::Precision::kSame:
      return dtype;
    case TensorList::Precision::kAtLeastFloat32:
      return dtype == at::kHalf || dtype == at::kBFloat16 ? at::kFloat : dtype;
    case TensorList::Precision::kBFloat16:
      return at::kBFloat16;
  }
  return dtype;
}

/// [tensors × lists × lists]: inner products of the lists, less the reference where there is one.
at::Tensor gram_of(const std::vector<const TensorList*>& lists, const TensorList* reference) {
  const TensorList& first = *lists.front();
  const auto count = static_cast<std::int64_t>(lists.size());
  std::vector<const kernels::SegmentTable*> tables;
  tables.reserve(lists.size());
  for (const TensorList* list : lists) tables.push_back(&list->table());
  const auto options = at::TensorOptions().dtype(at::kDouble).device(first.torch_device());
  const at::Tensor products =
      at::empty({static_cast<std::int64_t>(first.tensors().size()), count, count}, options);
  const at::Tensor workspace =
      at::empty({kernels::gram_workspace(first.table(), static_cast<int>(count))}, options);
  kernels::gram(tables, reference == nullptr ? nullptr : &reference->table(),
                products.data_ptr<double>(), workspace.data_ptr<double>(), first.stream());
  return products;
}

}  // namespace

TensorList::TensorList(std::vector<at::Tensor> tensors) : tensors_(std::move(tensors)) {
  if (tensors_.empty()) return;
  torch_device_ = tensors_.front().device();
  LV_CHECK(torch_device_.is_cpu() || torch_device_.is_cuda(),
           "tensors on device " << torch_device_ << "; CPU and CUDA are supported");
  device_ = {torch_device_.is_cuda() ? kernels::DeviceKind::kCuda : kernels::DeviceKind::kCpu,
             torch_device_.is_cuda() ? torch_device_.index() : 0};
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    LV_CHECK(tensors_[i].device() == torch_device_, "tensor " << i << " is on "
                                                              << tensors_[i].device()
                                                              << ", tensor 0 on " << torch_device_);
    LV_CHECK(tensors_[i].is_non_overlapping_and_dense(),
             "tensor " << i << " of shape " << tensors_[i].sizes() << " and strides "
                       << tensors_[i].strides() << " is not dense in memory");
    strides_.push_back(tensors_[i].strides().vec());
  }
}

std::int64_t TensorList::byte_count() const {
  std::int64_t bytes = 0;
  for (const at::Tensor& tensor : tensors_) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

bool TensorList::moved() const {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const kernels::Segment& segment = table_->segments()[i];
    if (segment.length > 0 && segment.data != tensors_[i].data_ptr()) return true;
  }
  return false;
}

const kernels::SegmentTable& TensorList::table() const {
  if (table_ && !moved()) return *table_;
  std::vector<kernels::Segment> segments;
  segments.reserve(tensors_.size());
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    LV_CHECK(tensors_[i].strides() == at::IntArrayRef(strides_[i]),
             "tensor " << i << " has changed its strides from " << at::IntArrayRef(strides_[i])
                       << " to " << tensors_[i].strides());
    segments.push_back(segment_of(tensors_[i]));
  }
  table_.emplace(std::move(segments), device_);
  if (device_.kind == kernels::DeviceKind::kCuda) {
    const auto size = static_cast<std::int64_t>(table_->bytes().size());
    at::Tensor packed = at::empty({size}, at::kByte);
    std::copy_n(reinterpret_cast<const std::uint8_t*>(table_->bytes().data()), size,
                packed.data_ptr<std::uint8_t>());
    placed_ = packed.to(torch_device_);
    table_->place(placed_.data_ptr());
  }
  return *table_;
}

TensorList TensorList::allocate_like(Precision precision) const {
  return allocate(precision, at::TensorOptions().device(torch_device_));
}

TensorList TensorList::allocate_on_host() const {
  const bool pinned = torch_device_.is_cuda();
  TensorList list =
      allocate(Precision::kSame, at::TensorOptions().device(at::kCPU).pinned_memory(pinned));
  list.torch_device_ = torch_device_;
  list.device_ = device_;
  return list;
}

TensorList TensorList::allocate(Precision precision, const at::TensorOptions& memory) const {
  std::vector<std::int64_t> offsets;
  std::int64_t total = 0;
  for (const at::Tensor& tensor : tensors_) {
    const at::ScalarType dtype = in_precision(tensor.scalar_type(), precision);
    offsets.push_back(total);
    const std::int64_t bytes = tensor.numel() * static_cast<std::int64_t>(at::elementSize(dtype));
    total += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  const at::Tensor block = at::empty({total}, memory.dtype(at::kByte));
  std::vector<at::Tensor> views;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const at::ScalarType dtype = in_precision(tensors_[i].scalar_type(), precision);
    const std::int64_t bytes =
        tensors_[i].numel() * static_cast<std::int64_t>(at::elementSize(dtype));
    const at::Tensor flat = block.narrow(0, offsets[i], bytes).view(dtype);
    views.push_back(
        flat.as_strided(tensors_[i].sizes(), tensors_[i].strides(), flat.storage_offset()));
  }
  return TensorList(std::move(views));
}

std::uint64_t TensorList::digest() const {
  if (empty()) return 0;
  const at::Tensor digest =
      at::zeros({1}, at::TensorOptions().dtype(at::kLong).device(torch_device_));
  kernels::checksum(table(), static_cast<std::uint64_t*>(digest.data_ptr()), stream());
  return static_cast<std::uint64_t>(digest.item<std::int64_t>());
}

void TensorList::copy_from(const TensorList& source) const {
  if (empty()) return;
  kernels::copy(table(), source.table(), stream());
}

kernels::Stream TensorList::stream() const {
#ifdef LEAPVERIFY_CUDA
  if (torch_device_.is_cuda()) {
    return c10::cuda::getCurrentCUDAStream(torch_device_.index()).stream();
  }
#endif
  return nullptr;
}

void shift(const TensorList& destination, const TensorList& from, const TensorList& to) {
  const at::Tensor coefficients =
      at::tensor({1.0, 1.0, -1.0}, at::kDouble).to(destination.torch_device());
  kernels::combine(destination.table(), {&destination.table(), &to.table(), &from.table()},
                   {coefficients.data_ptr<double>()}, nullptr, destination.stream());
}

double inner_product(const TensorList& a, const TensorList& b, const TensorList& c) {
  const at::Tensor with_a = gram_of({&a, &b, &c}, nullptr).sum(0)[0];
  return (with_a[1] - with_a[2]).item<double>();
}

double distance(const TensorList& a, const TensorList* b) {
  return std::sqrt(gram_of({&a}, b).sum().item<double>());
}

}  // namespace leapverify

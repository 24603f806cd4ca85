#include <ATen/ops/empty.h>
#include <leapverify/runtime/path_sample.h>

#include <algorithm>
#include <numeric>

namespace leapverify {
namespace {

/// Sums of squares of so many are exact to a hundredth.
constexpr std::int64_t kMostElements = std::int64_t{1} << 18;

/// Every `spacing`-th element in the order of the memory, or a little fewer: never only some columns of
/// a matrix.
at::Tensor sample_of(const at::Tensor& tensor, std::int64_t spacing) {
  while (std::gcd(spacing, tensor.size(-1)) > 1) ++spacing;
  return tensor.as_strided({(tensor.numel() + spacing - 1) / spacing}, {spacing});
}

}  // namespace

PathSample::PathSample(const TensorList& tensors) {
  std::int64_t all = 0;
  for (const at::Tensor& tensor : tensors.tensors()) all += tensor.numel();
  const std::int64_t spacing = std::max<std::int64_t>(1, all / kMostElements);
  std::int64_t count = 0;
  at::ScalarType widest = at::kFloat;
  for (const at::Tensor& tensor : tensors.tensors()) {
    if (tensor.numel() == 0) continue;
    sampled_.push_back(tensor.dim() == 0 ? tensor.reshape({1}) : sample_of(tensor, spacing));
    count += sampled_.back().numel();
    if (tensor.scalar_type() == at::kDouble) widest = at::kDouble;
  }
  const at::TensorOptions memory = at::TensorOptions().dtype(widest).device(tensors.torch_device());
  first_ = TensorList({at::empty({count}, memory)});
  last_ = TensorList({at::empty({count}, memory)});
  now_ = TensorList({at::empty({count}, memory)});
}

void PathSample::read(const TensorList& into) const {
  std::int64_t at = 0;
  for (const at::Tensor& elements : sampled_) {
    into.tensors().front().narrow(0, at, elements.numel()).copy_(elements);
    at += elements.numel();
  }
}

void PathSample::begin() {
  if (has_begun_) return;
  read(first_);
  read(last_);
  has_begun_ = true;
}

PathSample::Squares PathSample::take() {
  read(now_);
  const double from_start = distance(now_, &first_);
  const double moved = distance(now_, &last_);
  last_.copy_from(now_);
  return {from_start * from_start, moved * moved};
}

std::int64_t PathSample::byte_count() const {
  return first_.byte_count() + last_.byte_count() + now_.byte_count();
}

}  // namespace leapverify

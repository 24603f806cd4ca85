#include <ATen/ops/empty.h>
#include <leapverify/runtime/path_sample.h>

#include <algorithm>
#include <numeric>

namespace leapverify {
namespace {

/// Sums of squares of so many are exact to a hundredth.
constexpr std::int64_t kMostElements = std::int64_t{1} << 18;

/// Elements of a row as it lies in memory; 1 where there is none.
std::int64_t row_of(const at::Tensor& tensor) {
  for (std::int64_t i = 0; i < tensor.dim(); ++i) {
    if (tensor.stride(i) == 1 && tensor.size(i) > 1) return tensor.size(i);
  }
  return 1;
}

/// Every so many elements are sampled: with no row a multiple of a part of it, which would take some
/// columns of a matrix only.
std::int64_t spacing_of(const std::vector<at::Tensor>& tensors, std::int64_t all) {
  std::int64_t spacing = std::max<std::int64_t>(1, (all + kMostElements - 1) / kMostElements);
  const auto in_step = [&](const at::Tensor& tensor) {
    return std::gcd(spacing, row_of(tensor)) > 1;
  };
  while (std::any_of(tensors.begin(), tensors.end(), in_step)) ++spacing;
  return spacing;
}

}  // namespace

PathSample::PathSample(const TensorList& tensors) {
  std::int64_t all = 0;
  at::ScalarType widest = at::kFloat;
  for (const at::Tensor& tensor : tensors.tensors()) {
    all += tensor.numel();
    if (tensor.scalar_type() == at::kDouble) widest = at::kDouble;
  }
  const std::int64_t spacing = spacing_of(tensors.tensors(), all);
  std::int64_t count = 0;
  // As if all lay one behind the other.
  std::int64_t first = 0;
  for (const at::Tensor& tensor : tensors.tensors()) {
    if (first < tensor.numel()) {
      const std::int64_t here = (tensor.numel() - first + spacing - 1) / spacing;
      sampled_.push_back(tensor.as_strided({here}, {spacing}, tensor.storage_offset() + first));
      count += here;
      first += here * spacing;
    }
    first -= tensor.numel();
  }
  share_ = static_cast<double>(all) / static_cast<double>(std::max<std::int64_t>(1, count));
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
  return {share_ * from_start * from_start, share_ * moved * moved};
}

std::int64_t PathSample::byte_count() const {
  return first_.byte_count() + last_.byte_count() + now_.byte_count();
}

}  // namespace leapverify

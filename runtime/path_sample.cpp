#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <leapverify/kernels/sample.h>
#include <leapverify/runtime/path_sample.h>

#include <algorithm>
#include <numeric>
#include <utility>

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
  for (const at::Tensor& tensor : tensors.tensors()) all += tensor.numel();
  spacing_ = spacing_of(tensors.tensors(), all);
  std::vector<at::Tensor> sampled;
  std::vector<at::Tensor> samples;
  std::int64_t count = 0;
  // As if all lay one behind the other.
  std::int64_t first = 0;
  for (std::size_t i = 0; i < tensors.tensors().size(); ++i) {
    const at::Tensor& tensor = tensors.tensors()[i];
    if (first < tensor.numel()) {
      parts_.push_back({i, first, tensor.numel() - first});
      const std::int64_t here = (parts_.back().length + spacing_ - 1) / spacing_;
      sampled.push_back(parts_.back().of(tensor));
      samples.push_back(at::empty({here}, tensor.options()));
      count += here;
      first += here * spacing_;
    }
    first -= tensor.numel();
  }
  share_ = static_cast<double>(all) / static_cast<double>(std::max<std::int64_t>(1, count));
  sampled_ = TensorList(std::move(sampled));
  const TensorList shapes(std::move(samples));
  for (TensorList* list : {&first_, &last_, &average_, &now_}) {
    *list = shapes.allocate_like(TensorList::Precision::kAtLeastFloat32);
  }
}

at::Tensor PathSample::Part::of(const at::Tensor& like) const {
  return like.as_strided({length}, {1}, like.storage_offset() + first);
}

void PathSample::read(const TensorList& into) const {
  kernels::sample(into.table(), sampled_.table(), {spacing_, 0, 1}, sampled_.stream());
}

void PathSample::begin() {
  if (!has_average_) start_average();
  if (has_begun_) return;
  read(first_);
  read(last_);
  has_begun_ = true;
}

PathSample::Squares PathSample::take() {
  read(now_);
  const Squares squares = {whole(distance(now_, &first_)), whole(distance(now_, &last_))};
  last_.copy_from(now_);
  return squares;
}

void PathSample::start_average() {
  read(average_);
  has_average_ = true;
}

void PathSample::update_average(double decay) {
  // To float32, so that both factors still sum to 1 when the kernel rounds them.
  const auto keep = static_cast<double>(static_cast<float>(decay));
  kernels::sample(average_.table(), sampled_.table(), {spacing_, keep, 1 - keep},
                  sampled_.stream());
}

PathSample::Stride PathSample::stride() {
  read(now_);
  return {whole(distance(now_, nullptr)), whole(distance(now_, &average_))};
}

TensorList PathSample::sample_of(const std::vector<at::Tensor>& parts) const {
  const TensorList source(parts);
  TensorList samples = first_.allocate_like(TensorList::Precision::kSame);
  kernels::sample(samples.table(), source.table(), {spacing_, 0, 1}, source.stream());
  return samples;
}

double PathSample::slope(const std::vector<at::Tensor>& gradients,
                         const std::vector<at::Tensor>& tensors) const {
  std::vector<at::Tensor> down;
  std::vector<at::Tensor> here;
  down.reserve(parts_.size());
  here.reserve(parts_.size());
  for (const Part& part : parts_) {
    const at::Tensor tensor = tensors[part.tensor].detach();
    const at::Tensor& gradient = gradients[part.tensor];
    here.push_back(part.of(tensor));
    if (gradient.defined() && gradient.layout() == at::kStrided &&
        gradient.strides() == tensor.strides()) {
      down.push_back(part.of(gradient));
    } else {
      const at::Tensor like = at::zeros_like(tensor);
      if (gradient.defined()) like.add_(gradient);
      down.push_back(part.of(like));
    }
  }
  return share_ * inner_product(sample_of(down), sample_of(here), first_);
}

std::int64_t PathSample::byte_count() const { return 4 * now_.byte_count(); }

}  // namespace leapverify

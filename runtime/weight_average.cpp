#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/runtime/weight_average.h>
#include <torch/torch.h>

#include <cmath>

namespace leapverify {
namespace {

/// To float32, so that the two coefficients of an update still sum to 1 when a kernel rounds them:
/// else the average of weights that stand still would drift.
double rounded(double decay) { return static_cast<double>(static_cast<float>(decay)); }

}  // namespace

WeightAverage::WeightAverage(const TensorList& weights, double decay)
    : weights_(&weights),
      average_(weights.allocate_like(TensorList::Precision::kAtLeastFloat32)),
      coefficients_(at::tensor({1.0, rounded(decay), 1 - rounded(decay)}, at::kDouble)
                        .to(weights.torch_device())) {}

void WeightAverage::start() {
  kernels::combine(average_.table(), {&weights_->table()}, {coefficients_.data_ptr<double>()},
                   nullptr, weights_->stream());
}

void WeightAverage::update() {
  kernels::combine(average_.table(), {&average_.table(), &weights_->table()},
                   {coefficients_.data_ptr<double>() + 1}, nullptr, weights_->stream());
}

void shift(const TensorList& destination, const TensorList& from, const TensorList& to) {
  const at::Tensor coefficients =
      at::tensor({1.0, 1.0, -1.0}, at::kDouble).to(destination.torch_device());
  kernels::combine(destination.table(), {&destination.table(), &to.table(), &from.table()},
                   {coefficients.data_ptr<double>()}, nullptr, destination.stream());
}

double distance(const TensorList& a, const TensorList* b) {
  const auto options = at::TensorOptions().dtype(at::kDouble).device(a.torch_device());
  const at::Tensor squares = at::empty({static_cast<std::int64_t>(a.tensors().size())}, options);
  const at::Tensor workspace = at::empty({kernels::gram_workspace(a.table(), 1)}, options);
  kernels::gram({&a.table()}, b == nullptr ? nullptr : &b->table(), squares.data_ptr<double>(),
                workspace.data_ptr<double>(), a.stream());
  return std::sqrt(squares.sum().item<double>());
}

}  // namespace leapverify

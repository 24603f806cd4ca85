#include <leapverify/kernels/combine.h>
#include <leapverify/runtime/weight_average.h>
#include <torch/torch.h>

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

void WeightAverage::begin() {
  if (has_begun_) return;
  kernels::combine(average_.table(), {&weights_->table()}, {coefficients_.data_ptr<double>()},
                   nullptr, weights_->stream());
  has_begun_ = true;
}

void WeightAverage::update() {
  kernels::combine(average_.table(), {&average_.table(), &weights_->table()},
                   {coefficients_.data_ptr<double>() + 1}, nullptr, weights_->stream());
}

}  // namespace leapverify

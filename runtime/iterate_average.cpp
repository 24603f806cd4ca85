#include <leapverify/kernels/combine.h>
#include <leapverify/runtime/iterate_average.h>
#include <torch/torch.h>

namespace leapverify {

IterateAverage::IterateAverage(const TensorList& weights)
    : weights_(&weights),
      iterate_(weights.allocate_like(TensorList::Precision::kSame)),
      average_(weights.allocate_like(TensorList::Precision::kAtLeastFloat32)),
      coefficients_(at::zeros({2}, at::dtype(at::kDouble).device(weights.torch_device()))) {}

void IterateAverage::begin() {
  if (has_begun_) return;
  iterate_.copy_from(*weights_);
  mix(average_, average_, iterate_, 1);
  has_begun_ = true;
}

void IterateAverage::forget() {
  has_begun_ = false;
  total_ = 0;
  pull_ = 0;
}

void IterateAverage::before_step() { weights_->copy_from(iterate_); }

void IterateAverage::take_in(double weight) {
  iterate_.copy_from(*weights_);
  total_ += weight;
  if (weight > 0) mix(average_, average_, iterate_, weight / total_);
}

void IterateAverage::place(double pull) {
  pull_ = pull;
  mix(*weights_, iterate_, average_, pull);
}

void IterateAverage::place_average() { mix(*weights_, iterate_, average_, 1); }

void IterateAverage::restore(double total, double pull) {
  total_ = total;
  pull_ = pull;
  has_begun_ = true;
}

void IterateAverage::mix(const TensorList& destination, const TensorList& from,
                         const TensorList& to, double share) {
  // In float32, so that both still sum to 1 when a kernel rounds them: equal weights stay what they are.
  const double kept = static_cast<double>(static_cast<float>(1 - share));
  // By kernels: a copy from the host would wait for the device.
  coefficients_[0].fill_(kept);
  coefficients_[1].fill_(1 - kept);
  kernels::combine(destination.table(), {&from.table(), &to.table()},
                   {coefficients_.data_ptr<double>()}, nullptr, destination.stream());
}

}  // namespace leapverify

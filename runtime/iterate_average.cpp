#include <leapverify/kernels/combine.h>
#include <leapverify/runtime/iterate_average.h>
#include <torch/torch.h>

namespace leapverify {
namespace {

at::Tensor on_device(at::ArrayRef<double> values, const TensorList& list) {
  return at::tensor(values, at::kDouble).to(list.torch_device());
}

/// Also from one dtype to another.
void write(const TensorList& from, const TensorList& to) {
  const at::Tensor one = on_device({1.0}, to);
  kernels::combine(to.table(), {&from.table()}, {one.data_ptr<double>()}, nullptr, to.stream());
}

}  // namespace

IterateAverage::IterateAverage(const TensorList& weights)
    : weights_(&weights),
      iterate_(weights.allocate_like(TensorList::Precision::kSame)),
      average_(weights.allocate_like(TensorList::Precision::kAtLeastFloat32)) {}

void IterateAverage::begin() {
  if (has_begun_) return;
  iterate_.copy_from(*weights_);
  write(*weights_, average_);
  has_begun_ = true;
}

void IterateAverage::before_step() { weights_->copy_from(iterate_); }

void IterateAverage::take_in(double weight) {
  iterate_.copy_from(*weights_);
  total_ += weight;
  if (weight > 0) mix(average_, iterate_, weight / total_);
}

void IterateAverage::place(double pull) {
  weights_->copy_from(iterate_);
  mix(*weights_, average_, pull);
}

void IterateAverage::place_average() { write(average_, *weights_); }

void IterateAverage::restore(double total) {
  total_ = total;
  has_begun_ = true;
}

void IterateAverage::mix(const TensorList& a, const TensorList& b, double share) {
  // In float32, so that both still sum to 1 when a kernel rounds them: equal weights stay what they are.
  const double kept = static_cast<double>(static_cast<float>(1 - share));
  const at::Tensor coefficients = on_device({kept, 1 - kept}, a);
  kernels::combine(a.table(), {&a.table(), &b.table()}, {coefficients.data_ptr<double>()}, nullptr,
                   a.stream());
}

}  // namespace leapverify

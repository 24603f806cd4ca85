#include <leapverify/kernels/average_step.h>
#include <leapverify/runtime/iterate_average.h>
#include <torch/torch.h>

#include <utility>

namespace leapverify {

IterateAverage::IterateAverage(const TensorList& weights)
    : weights_(&weights),
      iterate_(weights.allocate_like(TensorList::Precision::kSame)),
      average_(weights.allocate_like(TensorList::Precision::kAtLeastFloat32)) {}

void IterateAverage::begin() {
  if (std::exchange(is_restored_, false)) place();
  if (has_begun_) return;
  iterate_.copy_from(*weights_);
  kernels::place_between(average_.table(), iterate_.table(), iterate_.table(), 0,
                         weights_->stream());
  has_begun_ = true;
}

void IterateAverage::forget() {
  has_begun_ = is_restored_ = false;
  total_ = 0;
  pull_ = 0;
}

void IterateAverage::go_to(const TensorList& average, double total) {
  average_.copy_from(average);
  kernels::place_between(iterate_.table(), average_.table(), average_.table(), 0,
                         weights_->stream());
  total_ = total;
  place();
}

void IterateAverage::take_in(double weight, double pull) {
  total_ += weight;
  const double share = weight > 0 ? weight / total_ : 0;
  kernels::average_step(weights_->table(), iterate_.table(), average_.table(), {pull_, share, pull},
                        weights_->stream());
  pull_ = pull;
}

void IterateAverage::place() {
  kernels::place_between(weights_->table(), iterate_.table(), average_.table(), pull_,
                         weights_->stream());
}

void IterateAverage::restore(double total, double pull) {
  total_ = total;
  pull_ = pull;
  has_begun_ = is_restored_ = true;
}

}  // namespace leapverify

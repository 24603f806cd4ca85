#include <leapverify/runtime/scaled_rates.h>
#include <torch/torch.h>

namespace leapverify {

ScaledRates::ScaledRates(torch::optim::Optimizer& optimizer, double scale) : optimizer_(optimizer) {
  if (scale == 1) return;
  for (auto& group : optimizer_.param_groups()) {
    rates_.push_back(group.options().get_lr());
    group.options().set_lr(rates_.back() * scale);
  }
}

ScaledRates::~ScaledRates() {
  for (std::size_t i = 0; i < rates_.size(); ++i) {
    optimizer_.param_groups()[i].options().set_lr(rates_[i]);
  }
}

}  // namespace leapverify

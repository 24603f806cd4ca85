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

double mean_rate(const torch::optim::Optimizer& optimizer) {
  double sum = 0;
  for (const auto& group : optimizer.param_groups()) sum += group.options().get_lr();
  return sum / static_cast<double>(optimizer.param_groups().size());
}

}  // namespace leapverify

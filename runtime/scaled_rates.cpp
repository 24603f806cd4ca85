#include <leapverify/runtime/scaled_rates.h>
#include <torch/torch.h>

#include <numeric>

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

std::vector<double> rates_of(const torch::optim::Optimizer& optimizer) {
  std::vector<double> rates;
  for (const auto& group : optimizer.param_groups()) rates.push_back(group.options().get_lr());
  return rates;
}

double mean_rate(const torch::optim::Optimizer& optimizer) {
  const std::vector<double> rates = rates_of(optimizer);
  return std::accumulate(rates.begin(), rates.end(), 0.0) / static_cast<double>(rates.size());
}

}  // namespace leapverify

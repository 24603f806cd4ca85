#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/scaled_rates.h>

#include <cstdio>
#include <numeric>

namespace leapverify {

ScaledRates::ScaledRates(BaseOptimizer& optimizer, double scale) : optimizer_(optimizer) {
  if (scale == 1) return;
  rates_ = optimizer_.learning_rates();
  std::vector<double> scaled = rates_;
  for (double& rate : scaled) rate *= scale;
  optimizer_.set_learning_rates(scaled);
}

ScaledRates::~ScaledRates() {
  if (rates_.empty()) return;
  try {
    optimizer_.set_learning_rates(rates_);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "leapverify: restoring the learning rates failed: %s\n",
                 error_text(error).c_str());
  }
}

double mean_rate(const BaseOptimizer& optimizer) {
  const std::vector<double> rates = optimizer.learning_rates();
  return std::accumulate(rates.begin(), rates.end(), 0.0) / static_cast<double>(rates.size());
}

}  // namespace leapverify

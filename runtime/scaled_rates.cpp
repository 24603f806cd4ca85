#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/scaled_rates.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace leapverify {
namespace {

/// From a destructor, which must not throw.
template <class Action>
void put_back(const char* what, const Action& action) {
  try {
    action();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "leapverify: restoring %s failed: %s\n", what, error_text(error).c_str());
  }
}

}  // namespace

ScaledRates::ScaledRates(BaseOptimizer& optimizer, double scale) : optimizer_(optimizer) {
  if (scale == 1) return;
  rates_ = optimizer_.learning_rates();
  std::vector<double> scaled = rates_;
  for (double& rate : scaled) rate *= scale;
  optimizer_.set_learning_rates(scaled);
}

ScaledRates::~ScaledRates() {
  if (rates_.empty()) return;
  put_back("the learning rates", [&] { optimizer_.set_learning_rates(rates_); });
}

CappedMomenta::CappedMomenta(BaseOptimizer& optimizer, const Most& most) : optimizer_(optimizer) {
  std::vector<double> capped;
  for (const MomentumCoefficient& momentum : optimizer.momenta()) {
    momenta_.push_back(momentum.value);
    capped.push_back(
        std::min(momentum.value, momentum.is_first_beta ? most.first_beta : most.momentum));
  }
  optimizer_.set_momenta(capped);
}

CappedMomenta::~CappedMomenta() {
  put_back("the momentum", [&] { optimizer_.set_momenta(momenta_); });
}

double mean_rate(const BaseOptimizer& optimizer) {
  const std::vector<double> rates = optimizer.learning_rates();
  return std::accumulate(rates.begin(), rates.end(), 0.0) / static_cast<double>(rates.size());
}

}  // namespace leapverify

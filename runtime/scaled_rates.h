// The base optimizer's learning rates and momentum, changed for the time of one step.
#pragma once

#include <leapverify/runtime/base_optimizer.h>

#include <vector>

namespace leapverify {

/// For its lifetime the learning rate of every param group is `scale` times what it was; afterwards
/// it is bitwise what it was, also when an exception passes. So a scheduler that reads, multiplies
/// or rewrites the rates between steps never meets the scale. With a scale of 1 nothing is touched.
class ScaledRates {
 public:
  ScaledRates(BaseOptimizer& optimizer, double scale);
  ~ScaledRates();
  ScaledRates(const ScaledRates&) = delete;
  ScaledRates& operator=(const ScaledRates&) = delete;

 private:
  BaseOptimizer& optimizer_;
  // Empty with a scale of 1.
  std::vector<double> rates_;
};

/// For its lifetime no param group's momentum is above what is given; likewise put back.
class CappedMomenta {
 public:
  struct Most {
    double first_beta = 1;
    double momentum = 1;
  };
  CappedMomenta(BaseOptimizer& optimizer, const Most& most);
  ~CappedMomenta();
  CappedMomenta(const CappedMomenta&) = delete;
  CappedMomenta& operator=(const CappedMomenta&) = delete;

 private:
  BaseOptimizer& optimizer_;
  std::vector<double> momenta_;
};

/// Mean of the param groups' learning rates.
double mean_rate(const BaseOptimizer& optimizer);

}  // namespace leapverify

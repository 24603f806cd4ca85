// Small sample statistics.
#pragma once

#include <cstdint>
#include <vector>

namespace leapverify::policy {

/// Mean and variance of a sample, by Welford's algorithm.
struct Sample {
  std::int64_t count = 0;
  double mean = 0;
  /// Unbiased (n − 1); 0 for fewer than two values.
  double variance = 0;
};

Sample summarize(const std::vector<double>& values);

/// summarize(a_i − b_i). Throws ContractError when the lists differ in length.
Sample summarize_differences(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace leapverify::policy

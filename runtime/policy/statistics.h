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

/// The upper bound of Clopper and Pearson (1934) on a chance of which `count` successes in `trials`
/// are known: the p at which no more than `count` have the chance 1 − confidence; 1 where all
/// succeeded. Throws ContractError unless 0 ≤ count ≤ trials, 1 ≤ trials and 0 < confidence < 1.
double clopper_pearson_upper(std::int64_t count, std::int64_t trials, double confidence);

}  // namespace leapverify::policy

#include <leapverify/kernels/error.h>
#include <leapverify/runtime/policy/statistics.h>

#include <cmath>

namespace leapverify::policy {
namespace {

/// P(at most `count` of `trials`) when each has the chance p ≥ count / trials, p < 1: the last term is
/// the largest then, so the sum may start there.
double chance_of_at_most(std::int64_t count, std::int64_t trials, double p) {
  const auto k = static_cast<double>(count);
  const auto n = static_cast<double>(trials);
  double term = std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) +
                         k * std::log(p) + (n - k) * std::log1p(-p));
  double sum = term;
  for (std::int64_t i = count; i > 0; --i) {
    term *= static_cast<double>(i) * (1 - p) / (static_cast<double>(trials - i + 1) * p);
    sum += term;
  }
  return sum;
}

}  // namespace

Sample summarize(const std::vector<double>& values) {
  Sample sample;
  double squares = 0;
  for (const double value : values) {
    ++sample.count;
    const double delta = value - sample.mean;
    sample.mean += delta / static_cast<double>(sample.count);
    squares += delta * (value - sample.mean);
  }
  if (sample.count > 1) sample.variance = squares / static_cast<double>(sample.count - 1);
  return sample;
}

Sample summarize_differences(const std::vector<double>& a, const std::vector<double>& b) {
  LV_CHECK(a.size() == b.size(), "paired samples of " << a.size() << " and " << b.size());
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  return summarize(differences);
}

double clopper_pearson_upper(std::int64_t count, std::int64_t trials, double confidence) {
  LV_CHECK(0 <= count && count <= trials && trials >= 1,
           count << " of " << trials << ", expected 0 ≤ count ≤ trials and trials ≥ 1");
  LV_CHECK(0 < confidence && confidence < 1,
           "confidence " << confidence << ", expected between 0 and 1");
  if (count == trials) return 1;
  double low = static_cast<double>(count) / static_cast<double>(trials);
  double high = 1;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (chance_of_at_most(count, trials, middle) > 1 - confidence ? low : high) = middle;
  }
  return high;
}

}  // namespace leapverify::policy

#include <leapverify/kernels/error.h>
#include <leapverify/runtime/policy/statistics.h>

namespace leapverify::policy {

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

}  // namespace leapverify::policy

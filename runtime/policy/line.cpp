#include <leapverify/kernels/error.h>
#include <leapverify/runtime/policy/line.h>

namespace leapverify::policy {

Line fit_line(const std::vector<LossPoint>& points) {
  const auto count = static_cast<double>(points.size());
  Line line;
  for (const LossPoint& point : points) {
    line.mean_step += static_cast<double>(point.step) / count;
    line.mean_loss += point.loss / count;
  }
  double covariance = 0;
  double spread = 0;
  for (const LossPoint& point : points) {
    const double offset = static_cast<double>(point.step) - line.mean_step;
    covariance += offset * (point.loss - line.mean_loss);
    spread += offset * offset;
  }
  LV_CHECK(spread > 0, points.size() << " points do not make a line");
  line.slope = covariance / spread;
  return line;
}

}  // namespace leapverify::policy

#include <ATen/ATen.h>
#include <leapverify/runtime/momentum.h>

#include <algorithm>
#include <utility>

namespace leapverify {

Momentum momentum_ahead(const BaseOptimizer& optimizer, double steps, bool half) {
  const std::vector<at::Tensor> parameters = optimizer.trained();
  std::vector<ParameterMoments> all = optimizer.moments(steps);
  const bool adaptive = std::any_of(all.begin(), all.end(), [](const ParameterMoments& moments) {
    return moments.exp_avg_sq.defined();
  });
  std::vector<at::Tensor> exp_avg;
  std::vector<at::Tensor> exp_avg_sq;
  Momentum momentum;
  for (std::size_t i = 0; i < all.size(); ++i) {
    ParameterMoments& moments = all[i];
    const auto stored = [&](const at::Tensor& moment) {
      // The same layout as the parameter's, so that elements meet.
      at::Tensor tensor = at::zeros_like(parameters[i].detach());
      if (moment.defined()) tensor.copy_(moment);
      return half ? tensor.to(at::kHalf) : tensor;
    };
    exp_avg.push_back(stored(moments.exp_avg));
    if (adaptive) exp_avg_sq.push_back(stored(moments.exp_avg_sq));
    // Without state, direction and denominator are zero: only an epsilon keeps 0 / 0 away.
    if (!moments.exp_avg.defined()) moments.row.epsilon = 1;
    momentum.rows.push_back(moments.row);
  }
  momentum.exp_avg = TensorList(std::move(exp_avg));
  momentum.exp_avg_sq = TensorList(std::move(exp_avg_sq));
  return momentum;
}

}  // namespace leapverify

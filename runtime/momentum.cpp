#include <leapverify/regimes/field.h>
#include <leapverify/runtime/fused_adamw.h>
#include <leapverify/runtime/momentum.h>
#include <torch/torch.h>

#include <tuple>
#include <typeinfo>
#include <utility>

namespace leapverify {
namespace {

namespace optim = torch::optim;

/// The moments of one parameter and the row of its steps; undefined tensors where there are none.
struct Moments {
  at::Tensor exp_avg;
  at::Tensor exp_avg_sq;
  kernels::AdamRow row;
};

template <class State, class Options>
Moments adam_moments(const State& state, const Options& options, double steps, double decay) {
  const auto [beta1, beta2] = options.betas();
  return {state.exp_avg(), options.amsgrad() ? state.max_exp_avg_sq() : state.exp_avg_sq(),
          kernels::AdamRow::adam(steps, options.lr(), beta1, beta2, options.eps(), decay,
                                 state.step())};
}

Moments moments_of(const optim::Optimizer& optimizer, const optim::OptimizerParamState& state,
                   const optim::OptimizerOptions& options, double steps) {
  if (is_adamw(optimizer)) {
    const auto& adamw = static_cast<const optim::AdamWOptions&>(options);
    return adam_moments(static_cast<const optim::AdamWParamState&>(state), adamw, steps,
                        adamw.weight_decay());
  }
  if (typeid(optimizer) == typeid(optim::Adam)) {
    // Its weight decay is part of the gradient, and so of the moments.
    return adam_moments(static_cast<const optim::AdamParamState&>(state),
                        static_cast<const optim::AdamOptions&>(options), steps, 0);
  }
  return {static_cast<const optim::SGDParamState&>(state).momentum_buffer(),
          {},
          kernels::AdamRow::sgd_momentum(steps, options.get_lr())};
}

}  // namespace

void check_has_momentum(const optim::Optimizer& optimizer) {
  const std::type_info& type = typeid(optimizer);
  bool has_moments = is_adamw(optimizer) || type == typeid(optim::Adam);
  if (type == typeid(optim::SGD)) {
    has_moments = true;
    for (const auto& group : optimizer.param_groups()) {
      const auto& options = static_cast<const optim::SGDOptions&>(group.options());
      has_moments = has_moments && options.momentum() > 0;
    }
  }
  if (!has_moments) {
    throw InvalidOption("predictor", "momentum",
                        "a base optimizer with moments: Adam, AdamW or SGD with momentum");
  }
}

Momentum momentum_ahead(const optim::Optimizer& optimizer, double steps, bool half) {
  check_has_momentum(optimizer);
  const bool sgd = typeid(optimizer) == typeid(optim::SGD);
  std::vector<at::Tensor> exp_avg;
  std::vector<at::Tensor> exp_avg_sq;
  Momentum momentum;
  for (const auto& group : optimizer.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (!parameter.requires_grad()) continue;
      Moments moments;
      const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (found != optimizer.state().end()) {
        moments = moments_of(optimizer, *found->second, group.options(), steps);
      }
      const auto stored = [&](const at::Tensor& moment) {
        // The same layout as the parameter's, so that elements meet.
        at::Tensor tensor = at::zeros_like(parameter.detach());
        if (moment.defined()) tensor.copy_(moment);
        return half ? tensor.to(at::kHalf) : tensor;
      };
      exp_avg.push_back(stored(moments.exp_avg));
      if (!sgd) exp_avg_sq.push_back(stored(moments.exp_avg_sq));
      // Without state, direction and denominator are zero: only an epsilon keeps 0 / 0 away.
      if (!moments.exp_avg.defined()) moments.row.epsilon = 1;
      momentum.rows.push_back(moments.row);
    }
  }
  momentum.exp_avg = TensorList(std::move(exp_avg));
  momentum.exp_avg_sq = TensorList(std::move(exp_avg_sq));
  return momentum;
}

}  // namespace leapverify

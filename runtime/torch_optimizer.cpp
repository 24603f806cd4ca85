#include <leapverify/regimes/field.h>
#include <leapverify/runtime/fused_adamw.h>
#include <leapverify/runtime/muon.h>
#include <leapverify/runtime/optimizer_state.h>
#include <leapverify/runtime/torch_optimizer.h>
#include <torch/torch.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <tuple>
#include <typeinfo>

namespace leapverify {
namespace {

namespace optim = torch::optim;

template <class State, class Options>
ParameterMoments adam_moments(const State& state, const Options& options, double steps,
                              double decay) {
  const auto [beta1, beta2] = options.betas();
  return {state.exp_avg(), options.amsgrad() ? state.max_exp_avg_sq() : state.exp_avg_sq(),
          kernels::AdamRow::adam(steps, options.lr(), beta1, beta2, options.eps(), decay,
                                 state.step())};
}

ParameterMoments moments_of(const optim::Optimizer& optimizer,
                            const optim::OptimizerParamState& state,
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

/// Puts the value that `change` makes of it in the place of the momentum of a group, where it has one.
template <class Change>
void with_momentum(optim::OptimizerOptions& options, const Change& change) {
  const auto first_beta = [&](auto& adam) {
    const auto [first, second] = adam.betas();
    adam.betas({change({first, true}), second});
  };
  const auto momentum = [&](auto& other) {
    if (other.momentum() > 0) other.momentum(change({other.momentum()}));
  };
  if (auto* muon = dynamic_cast<MuonOptions*>(&options); muon && muon->orthogonalised) {
    muon->momentum = change({muon->momentum});
  } else if (auto* adamw = dynamic_cast<optim::AdamWOptions*>(&options)) {
    first_beta(*adamw);
  } else if (auto* adam = dynamic_cast<optim::AdamOptions*>(&options)) {
    first_beta(*adam);
  } else if (auto* sgd = dynamic_cast<optim::SGDOptions*>(&options)) {
    momentum(*sgd);
  } else if (auto* rmsprop = dynamic_cast<optim::RMSpropOptions*>(&options)) {
    momentum(*rmsprop);
  }
}

}  // namespace

TorchOptimizer::TorchOptimizer(optim::Optimizer& optimizer) : optimizer_(optimizer) {
  check_supported(optimizer);
}

std::vector<at::Tensor> TorchOptimizer::trained() const {
  std::vector<at::Tensor> parameters;
  for (const auto& group : optimizer_.param_groups()) {
    std::copy_if(group.params().begin(), group.params().end(), std::back_inserter(parameters),
                 [](const at::Tensor& parameter) { return parameter.requires_grad(); });
  }
  return parameters;
}

std::vector<at::Tensor> TorchOptimizer::gradients() const {
  const std::vector<at::Tensor> parameters = trained();
  std::vector<at::Tensor> gradients;
  gradients.reserve(parameters.size());
  for (const at::Tensor& parameter : parameters) gradients.push_back(parameter.grad());
  return gradients;
}

std::vector<double> TorchOptimizer::learning_rates() const {
  std::vector<double> rates;
  for (const auto& group : optimizer_.param_groups()) rates.push_back(group.options().get_lr());
  return rates;
}

void TorchOptimizer::set_learning_rates(const std::vector<double>& rates) {
  for (std::size_t i = 0; i < rates.size(); ++i) {
    optimizer_.param_groups()[i].options().set_lr(rates[i]);
  }
}

std::vector<MomentumCoefficient> TorchOptimizer::momenta() const {
  std::vector<MomentumCoefficient> momenta;
  for (auto& group : optimizer_.param_groups()) {
    MomentumCoefficient momentum;
    with_momentum(group.options(), [&](const MomentumCoefficient& of_group) {
      momentum = of_group;
      return of_group.value;
    });
    momenta.push_back(momentum);
  }
  return momenta;
}

void TorchOptimizer::set_momenta(const std::vector<double>& momenta) {
  for (std::size_t i = 0; i < momenta.size(); ++i) {
    with_momentum(optimizer_.param_groups()[i].options(),
                  [&](const MomentumCoefficient&) { return momenta[i]; });
  }
}

at::Tensor TorchOptimizer::step(const std::function<at::Tensor()>& closure) {
  return optimizer_.step(closure);
}

void TorchOptimizer::zero_grad(bool set_to_none) { optimizer_.zero_grad(set_to_none); }

void TorchOptimizer::scale_moments(double factor) { leapverify::scale_moments(optimizer_, factor); }

void TorchOptimizer::reset_state() { leapverify::reset_state(optimizer_); }

void TorchOptimizer::check_has_moments() const {
  const std::type_info& type = typeid(optimizer_);
  bool has_moments = is_adamw(optimizer_) || type == typeid(optim::Adam);
  if (type == typeid(optim::SGD)) {
    has_moments = true;
    for (const auto& group : optimizer_.param_groups()) {
      const auto& options = static_cast<const optim::SGDOptions&>(group.options());
      has_moments = has_moments && options.momentum() > 0;
    }
  }
  if (!has_moments) {
    throw InvalidOption("predictor", "momentum",
                        "a base optimizer with moments: Adam, AdamW or SGD with momentum");
  }
}

std::vector<ParameterMoments> TorchOptimizer::moments(double steps) const {
  check_has_moments();
  std::vector<ParameterMoments> all;
  for (const auto& group : optimizer_.param_groups()) {
    for (const at::Tensor& parameter : group.params()) {
      if (!parameter.requires_grad()) continue;
      ParameterMoments& moments = all.emplace_back();
      const auto found = optimizer_.state().find(parameter.unsafeGetTensorImpl());
      if (found != optimizer_.state().end()) {
        moments = moments_of(optimizer_, *found->second, group.options(), steps);
      }
    }
  }
  return all;
}

std::function<void()> TorchOptimizer::keep_state() {
  auto kept = std::make_shared<OptimizerState>(export_state(optimizer_));
  for (auto& [name, tensor] : kept->tensors) tensor = tensor.clone();
  return [this, kept] { import_state(optimizer_, *kept, "rehearsal"); };
}

}  // namespace leapverify

#include <leapverify/regimes/field.h>
#include <leapverify/runtime/muon.h>
#include <leapverify/runtime/optimizer_state.h>
#include <torch/torch.h>

#include <charconv>
#include <memory>
#include <nlohmann/json.hpp>
#include <typeinfo>
#include <utility>

namespace leapverify {
namespace {

using nlohmann::json;
namespace optim = torch::optim;

/// visit(visitor, state): the visitor sees every tensor and every counter of one parameter's state.
template <class Visitor>
void visit(Visitor& v, optim::AdamWParamState& state) {
  v.counter("step", state.step());
  v.tensor("exp_avg", state.exp_avg());
  v.tensor("exp_avg_sq", state.exp_avg_sq());
  v.tensor("max_exp_avg_sq", state.max_exp_avg_sq());
}
template <class Visitor>
void visit(Visitor& v, MuonParamState& state) {
  visit(v, static_cast<optim::AdamWParamState&>(state));
  v.tensor("momentum_buffer", state.momentum_buffer);
}
template <class Visitor>
void visit(Visitor& v, optim::AdamParamState& state) {
  v.counter("step", state.step());
  v.tensor("exp_avg", state.exp_avg());
  v.tensor("exp_avg_sq", state.exp_avg_sq());
  v.tensor("max_exp_avg_sq", state.max_exp_avg_sq());
}
template <class Visitor>
void visit(Visitor& v, optim::SGDParamState& state) {
  v.tensor("momentum_buffer", state.momentum_buffer());
}
template <class Visitor>
void visit(Visitor& v, optim::RMSpropParamState& state) {
  v.counter("step", state.step());
  v.tensor("square_avg", state.square_avg());
  v.tensor("momentum_buffer", state.momentum_buffer());
  v.tensor("grad_avg", state.grad_avg());
}
template <class Visitor>
void visit(Visitor& v, optim::AdagradParamState& state) {
  v.counter("step", state.step());
  v.tensor("sum", state.sum());
}

/// Calls action.template run<ParamState>(name) for the optimizer's kind; false when it is not
/// known.
template <class Action>
bool by_kind(const optim::Optimizer& optimizer, Action&& action) {
  const std::type_info& type = typeid(optimizer);
  if (is_adamw(optimizer)) return action(optim::AdamWParamState{}, "adamw"), true;
  if (type == typeid(Muon)) return action(MuonParamState{}, "muon"), true;
  if (type == typeid(optim::Adam)) return action(optim::AdamParamState{}, "adam"), true;
  if (type == typeid(optim::SGD)) return action(optim::SGDParamState{}, "sgd"), true;
  if (type == typeid(optim::RMSprop)) return action(optim::RMSpropParamState{}, "rmsprop"), true;
  if (type == typeid(optim::Adagrad)) return action(optim::AdagradParamState{}, "adagrad"), true;
  return false;
}

std::vector<at::Tensor> parameters_of(const optim::Optimizer& optimizer) {
  std::vector<at::Tensor> parameters;
  for (const auto& group : optimizer.param_groups()) {
    parameters.insert(parameters.end(), group.params().begin(), group.params().end());
  }
  return parameters;
}

std::size_t index_from(const std::string& text, const std::string& source) {
  std::size_t index = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, index);
  if (result.ec != std::errc() || result.ptr != end) {
    throw FormatError(source + ": '" + text + "' is no position of a parameter");
  }
  return index;
}

struct Exporter {
  OptimizerState& out;
  json& counters;
  std::string position;

  void counter(const char* name, std::int64_t value) { counters[position][name] = value; }
  void tensor(const char* name, const at::Tensor& value) {
    if (value.defined()) out.tensors.emplace_back(position + "." + name, value);
  }
};

struct Importer {
  const OptimizerState& in;
  const json& counters;
  std::string position;
  at::Tensor parameter;
  std::string source;

  void counter(const char* name, std::int64_t& value) {
    value = counters.at(position).at(name).get<std::int64_t>();
  }
  void tensor(const char* name, at::Tensor& value) {
    const std::string full = position + "." + name;
    for (const auto& [stored_name, stored] : in.tensors) {
      if (stored_name != full) continue;
      // With the parameter's strides, as the optimizer makes it: a file knows none.
      value = at::empty_like(parameter).copy_(
          find_like(in.tensors, full, at::empty_like(parameter, at::kCPU), source));
      return;
    }
  }
};

struct Scaler {
  double factor;

  void counter(const char*, std::int64_t) {}
  void tensor(const char*, at::Tensor& value) {
    if (value.defined()) value.mul_(factor);
  }
};

}  // namespace

void check_supported(const optim::Optimizer& optimizer) {
  const std::type_info& type = typeid(optimizer);
  if (type == typeid(optim::LBFGS)) {
    throw InvalidOption(
        "base optimizer", "LBFGS",
        "SGD, Adam, AdamW, Muon, RMSprop or Adagrad: LBFGS evaluates the loss several "
        "times a step and keeps directions that a leap would falsify");
  }
  if (!by_kind(optimizer, [](auto, const char*) {})) {
    throw InvalidOption("base optimizer", type.name(),
                        "SGD, Adam, AdamW, Muon, RMSprop or Adagrad");
  }
}

OptimizerState export_state(const optim::Optimizer& optimizer) {
  check_supported(optimizer);
  OptimizerState out;
  json description;
  json counters = json::object();
  const std::vector<at::Tensor> parameters = parameters_of(optimizer);
  by_kind(optimizer, [&](auto kind, const char* name) {
    description["kind"] = name;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto found = optimizer.state().find(parameters[i].unsafeGetTensorImpl());
      if (found == optimizer.state().end()) continue;
      const std::string position = std::to_string(i);
      counters[position] = json::object();
      Exporter exporter{out, counters, position};
      visit(exporter, static_cast<decltype(kind)&>(*found->second));
    }
  });
  description["parameters"] = counters;
  description["lr"] = json::array();
  for (const auto& group : optimizer.param_groups()) {
    description["lr"].push_back(group.options().get_lr());
  }
  out.json = description.dump();
  return out;
}

void import_state(optim::Optimizer& optimizer, const OptimizerState& state,
                  const std::string& source) {
  check_supported(optimizer);
  const std::vector<at::Tensor> parameters = parameters_of(optimizer);
  std::vector<std::pair<void*, std::unique_ptr<optim::OptimizerParamState>>> loaded;
  std::vector<double> rates;
  try {
    const json description = json::parse(state.json);
    by_kind(optimizer, [&](auto kind, const char* name) {
      if (description.at("kind") != name) {
        throw FormatError(source + ": state of " + description.at("kind").get<std::string>() +
                          ", the optimizer is " + name);
      }
      for (const auto& [position, counters] : description.at("parameters").items()) {
        const std::size_t i = index_from(position, source);
        if (i >= parameters.size()) {
          throw FormatError(source + ": state of parameter " + position + " of " +
                            std::to_string(parameters.size()));
        }
        auto entry = std::make_unique<decltype(kind)>();
        Importer importer{state, description.at("parameters"), position, parameters[i], source};
        visit(importer, *entry);
        loaded.emplace_back(parameters[i].unsafeGetTensorImpl(), std::move(entry));
      }
    });
    rates = description.at("lr").get<std::vector<double>>();
  } catch (const json::exception& error) {
    throw FormatError(source + ": bad optimizer state: " + error.what());
  }
  if (rates.size() != optimizer.param_groups().size()) {
    throw FormatError(source + ": learning rates of " + std::to_string(rates.size()) +
                      " groups, the optimizer has " +
                      std::to_string(optimizer.param_groups().size()));
  }
  optimizer.state().clear();
  for (auto& [key, value] : loaded) optimizer.state()[key] = std::move(value);
  for (std::size_t i = 0; i < rates.size(); ++i) {
    optimizer.param_groups()[i].options().set_lr(rates[i]);
  }
}

void scale_moments(optim::Optimizer& optimizer, double factor) {
  torch::NoGradGuard no_grad;
  by_kind(optimizer, [&](auto kind, const char*) {
    Scaler scaler{factor};
    for (auto& [key, value] : optimizer.state()) {
      visit(scaler, static_cast<decltype(kind)&>(*value));
    }
  });
}

void reset_state(optim::Optimizer& optimizer) {
  auto* adagrad = dynamic_cast<optim::Adagrad*>(&optimizer);
  if (adagrad == nullptr) {
    optimizer.state().clear();
    return;
  }
  // Adagrad makes its state at construction and expects it to be there.
  torch::NoGradGuard no_grad;
  const double initial =
      static_cast<optim::AdagradOptions&>(adagrad->defaults()).initial_accumulator_value();
  for (auto& [key, value] : optimizer.state()) {
    auto& state = static_cast<optim::AdagradParamState&>(*value);
    state.step(0);
    state.sum().fill_(initial);
  }
}

}  // namespace leapverify

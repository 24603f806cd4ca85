#include <ATen/ATen.h>
#include <leapverify/integrations/python/binding/python_objects.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/error_text.h>
#include <pybind11/stl.h>
#include <torch/csrc/autograd/python_variable.h>

#include <algorithm>
#include <string>
#include <tuple>

namespace leapverify::python {
namespace {

/// Calls what puts something back. Ctrl-C must not keep it from that, and nothing may pass through
/// the destructors that call it: it is called once more, and Python is told afterwards.
template <class... Arguments>
void put_back(const py::object& function, Arguments&&... arguments) {
  try {
    function(arguments...);
  } catch (const py::error_already_set& error) {
    if (!error.matches(PyExc_KeyboardInterrupt)) throw;
    function(arguments...);
    PyErr_SetInterrupt();
  }
}

std::function<void()> putting_back(py::object function) {
  return [function = std::move(function)] { put_back(function); };
}

class PythonStatisticsCollection : public StatisticsCollection {
 public:
  explicit PythonStatisticsCollection(py::object collection) : collection_(std::move(collection)) {}
  ~PythonStatisticsCollection() override {
    try {
      collection_.attr("end")();
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("ending a collection of batch norm's statistics");
    }
  }

  void start() override { collection_.attr("start")(); }
  bool complete() const override { return collection_.attr("complete")().cast<bool>(); }

 private:
  py::object collection_;
};

}  // namespace

std::vector<at::Tensor> PythonOptimizer::given() const {
  std::vector<at::Tensor> parameters;
  for (const py::handle group : access_.attr("parameter_lists")()) {
    for (const py::handle parameter : group) {
      LV_CHECK(THPVariable_Check(parameter.ptr()),
               "a param group holds something else than tensors");
      const at::Tensor& tensor = THPVariable_Unpack(parameter.ptr());
      if (tensor.requires_grad()) parameters.push_back(tensor);
    }
  }
  return parameters;
}

std::vector<at::Tensor> PythonOptimizer::trained() const {
  std::vector<at::Tensor> parameters = given();
  if (!sharded()) return parameters;
  const auto same = [](const at::Tensor& a, const at::Tensor& b) { return a.is_same(b); };
  if (!std::equal(parameters.begin(), parameters.end(), given_.begin(), given_.end(), same)) {
    shards_ = access_.attr("shards")(parameters).cast<std::vector<at::Tensor>>();
    given_ = std::move(parameters);
  }
  return shards_;
}

bool PythonOptimizer::has_gradients() const {
  const std::vector<at::Tensor> parameters = given();
  return std::any_of(parameters.begin(), parameters.end(),
                     [](const at::Tensor& parameter) { return parameter.grad().defined(); });
}

std::vector<at::Tensor> PythonOptimizer::gradients() const {
  const std::vector<at::Tensor> parameters = given();
  std::vector<at::Tensor> gradients;
  gradients.reserve(parameters.size());
  for (const at::Tensor& parameter : parameters) gradients.push_back(parameter.grad());
  if (!sharded()) return gradients;
  std::vector<at::Tensor> shards;
  for (const py::handle shard : access_.attr("gradient_shards")(parameters)) {
    shards.push_back(shard.is_none() ? at::Tensor() : shard.cast<at::Tensor>());
  }
  return shards;
}

std::vector<double> PythonOptimizer::learning_rates() const {
  return access_.attr("learning_rates")().cast<std::vector<double>>();
}

void PythonOptimizer::set_learning_rates(const std::vector<double>& rates) {
  put_back(access_.attr("set_learning_rates"), rates);
}

std::vector<MomentumCoefficient> PythonOptimizer::momenta() const {
  std::vector<MomentumCoefficient> momenta;
  for (const auto& [value, is_first_beta] :
       access_.attr("momenta")().cast<std::vector<std::pair<double, bool>>>()) {
    momenta.push_back({value, is_first_beta});
  }
  return momenta;
}

void PythonOptimizer::set_momenta(const std::vector<double>& momenta) {
  put_back(access_.attr("set_momenta"), momenta);
}

at::Tensor PythonOptimizer::step(const std::function<at::Tensor()>& closure) {
  py::object function = py::none();
  if (closure) {
    function = py::cpp_function([this, &closure]() -> py::object {
      closure();
      return closure_result;
    });
  }
  step_result = call(access_.attr("step"), function);
  return {};
}

void PythonOptimizer::zero_grad(bool set_to_none) { access_.attr("zero_grad")(set_to_none); }

void PythonOptimizer::scale_moments(double factor) { access_.attr("scale_moments")(factor); }

void PythonOptimizer::reset_state() { access_.attr("reset_state")(); }

std::vector<ParameterMoments> PythonOptimizer::moments(double steps) const {
  std::vector<ParameterMoments> all;
  for (const py::handle entry : access_.attr("moments")()) {
    ParameterMoments& moments = all.emplace_back();
    if (entry.is_none()) continue;
    const auto fields = entry.cast<py::dict>();
    moments.exp_avg = fields["exp_avg"].cast<at::Tensor>();
    const auto lr = fields["lr"].cast<double>();
    if (!fields.contains("exp_avg_sq")) {
      moments.row = kernels::AdamRow::sgd_momentum(steps, lr);
      continue;
    }
    moments.exp_avg_sq = fields["exp_avg_sq"].cast<at::Tensor>();
    const auto [beta1, beta2] = fields["betas"].cast<std::tuple<double, double>>();
    moments.row = kernels::AdamRow::adam(steps, lr, beta1, beta2, fields["eps"].cast<double>(),
                                         fields["weight_decay"].cast<double>(),
                                         fields["step"].cast<std::int64_t>());
  }
  return all;
}

void PythonOptimizer::check_has_moments() const { access_.attr("check_has_moments")(); }

std::function<void()> PythonOptimizer::keep_state() {
  return putting_back(access_.attr("keep_state")());
}

bool PythonOptimizer::sharded() const { return access_.attr("sharded")().cast<bool>(); }

void PythonOptimizer::sum_over_shards(std::vector<double>& values) const {
  if (!sharded()) return;
  values = access_.attr("sum_over_shards")(values).cast<std::vector<double>>();
}

std::vector<at::Tensor> PythonModel::parameters() const {
  return access_.attr("parameters")().cast<std::vector<at::Tensor>>();
}

std::vector<at::Tensor> PythonModel::buffers() const {
  return access_.attr("buffers")().cast<std::vector<at::Tensor>>();
}

std::function<void()> PythonModel::enter(bool evaluation_mode) {
  return putting_back(access_.attr("enter")(evaluation_mode));
}

std::vector<at::Tensor> PythonModel::running_statistics() const {
  return access_.attr("running_statistics")().cast<std::vector<at::Tensor>>();
}

std::vector<at::Tensor> PythonModel::running_variances() const {
  return access_.attr("running_variances")().cast<std::vector<at::Tensor>>();
}

std::unique_ptr<StatisticsCollection> PythonModel::collect_statistics() {
  return std::make_unique<PythonStatisticsCollection>(access_.attr("collect_statistics")());
}

std::int64_t PythonEvaluator::sequence_count() const {
  return access_.attr("sequence_count")().cast<std::int64_t>();
}

double PythonEvaluator::step_cost() const { return access_.attr("step_cost")().cast<double>(); }

bool PythonEvaluator::together() const { return access_.attr("together")().cast<bool>(); }

Evaluation PythonEvaluator::evaluate(const std::vector<std::int64_t>& sequences, bool activations) {
  const py::object found = call(access_.attr("evaluate"), sequences, activations);
  const auto [losses, vectors] = found.cast<std::tuple<at::Tensor, std::optional<at::Tensor>>>();
  return {losses, vectors.value_or(at::Tensor())};
}

void PythonCollective::sum(std::vector<double>& values) {
  try {
    values = call(ranks_.attr("sum"), values).cast<std::vector<double>>();
  } catch (const py::error_already_set& error) {
    throw CollectiveError(error_text(error));
  }
}

TrainingPosition PythonStepRunner::position() const {
  const auto [data, schedule] =
      runner_.attr("position")().cast<std::tuple<std::int64_t, std::int64_t>>();
  return {data, schedule};
}

void PythonStepRunner::seek(const TrainingPosition& position) {
  call(runner_.attr("seek"), position.data, position.schedule);
}

void PythonStepRunner::backward() { call(runner_.attr("backward")); }

}  // namespace leapverify::python

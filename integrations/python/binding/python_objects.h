// The optimizer, the model, the evaluator and the training loop of a Python program as LeapVerify
// sees them. Each holds a Python object of leapverify/_access.py or of the user's; all is called
// with the interpreter's lock held.
#pragma once

#include <leapverify/runtime/base_optimizer.h>
#include <leapverify/runtime/evaluator.h>
#include <leapverify/runtime/policy/collective.h>
#include <leapverify/runtime/step_runner.h>
#include <leapverify/runtime/trained_model.h>
#include <torch/csrc/utils/pybind.h>

#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace leapverify::python {

namespace py = pybind11;

/// KeyboardInterrupt and the like, on their way through code that takes a std::exception for a
/// failing evaluator.
struct Interruption {
  std::exception_ptr error;
};

/// Calls a Python function of the user's; throws Interruption where it raises no Exception.
template <class... Arguments>
py::object call(const py::object& function, Arguments&&... arguments) {
  try {
    return function(std::forward<Arguments>(arguments)...);
  } catch (const py::error_already_set& error) {
    if (error.matches(PyExc_Exception)) throw;
    throw Interruption{std::current_exception()};
  }
}

/// Over leapverify._access.OptimizerAccess.
class PythonOptimizer : public BaseOptimizer {
 public:
  explicit PythonOptimizer(py::object access) : access_(std::move(access)) {}

  std::vector<at::Tensor> trained() const override;
  std::vector<at::Tensor> gradients() const override;
  std::vector<double> learning_rates() const override;
  void set_learning_rates(const std::vector<double>& rates) override;
  std::vector<MomentumCoefficient> momenta() const override;
  void set_momenta(const std::vector<double>& momenta) override;
  at::Tensor step(const std::function<at::Tensor()>& closure) override;
  void zero_grad(bool set_to_none) override;
  void scale_moments(double factor) override;
  void reset_state() override;
  std::vector<ParameterMoments> moments(double steps) const override;
  void check_has_moments() const override;
  std::function<void()> keep_state() override;
  bool sharded() const override;
  void sum_over_shards(std::vector<double>& values) const override;

  /// Whether any parameter has a gradient.
  bool has_gradients() const;

  /// What the closure of the step that goes on returned, to be handed to the base optimizer.
  py::object closure_result = py::none();
  /// What the base optimizer's last step returned.
  py::object step_result = py::none();

 private:
  /// Parameters that require gradients as they stand in the groups, shards not unwrapped.
  std::vector<at::Tensor> given() const;

  py::object access_;
  // The shards of distributed parameters, looked up once as long as the parameters stay the same.
  mutable std::vector<at::Tensor> given_;
  mutable std::vector<at::Tensor> shards_;
};

/// Over leapverify._access.ModelAccess.
class PythonModel : public TrainedModel {
 public:
  explicit PythonModel(py::object access) : access_(std::move(access)) {}

  std::vector<at::Tensor> parameters() const override;
  std::vector<at::Tensor> buffers() const override;
  std::function<void()> enter(bool evaluation_mode) override;
  std::vector<at::Tensor> running_statistics() const override;
  std::vector<at::Tensor> running_variances() const override;
  std::unique_ptr<StatisticsCollection> collect_statistics() override;

 private:
  py::object access_;
};

/// Over leapverify._access.EvaluatorAccess.
class PythonEvaluator : public Evaluator {
 public:
  explicit PythonEvaluator(py::object access) : access_(std::move(access)) {}

  std::int64_t sequence_count() const override;
  double step_cost() const override;
  bool together() const override;
  Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool activations) override;

 private:
  py::object access_;
};

/// Over leapverify._ranks.Ranks.
class PythonCollective : public Collective {
 public:
  explicit PythonCollective(py::object ranks) : ranks_(std::move(ranks)) {}

  int rank() const override { return ranks_.attr("rank").cast<int>(); }
  int size() const override { return ranks_.attr("size").cast<int>(); }
  void sum(std::vector<double>& values) override;

 private:
  py::object ranks_;
};

/// Over an object of the user's with position(), seek(data, schedule) and backward().
class PythonStepRunner : public StepRunner {
 public:
  explicit PythonStepRunner(py::object runner) : runner_(std::move(runner)) {}

  TrainingPosition position() const override;
  void seek(const TrainingPosition& position) override;
  void backward() override;

 private:
  py::object runner_;
};

}  // namespace leapverify::python

// The Python module leapverify._core: the wrapper of runtime/ over objects of Python.
#include <leapverify/integrations/python/binding/option_fields.h>
#include <leapverify/integrations/python/binding/python_objects.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/trace.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <utility>

namespace leapverify::python {
namespace {

/// LeapVerify with the Python objects that it refers to. For the arguments see
/// leapverify/optimizer.py, which alone makes one.
class Engine {
 public:
  Engine(const py::object& optimizer, const py::object& model, const py::object& evaluator,
         const Options& options, const py::object& trace, const py::object& runner,
         const py::object& ranks)
      : evaluator_(evaluator), ranks_(ranks) {
    if (!runner.is_none()) runner_ = std::make_unique<PythonStepRunner>(runner);
    TraceSink sink;
    if (!trace.is_none()) sink = [trace](const std::string& event) { trace(event); };
    auto base = std::make_unique<PythonOptimizer>(optimizer);
    optimizer_ = base.get();
    guarded([&] {
      leaps_ = std::make_unique<LeapVerify>(std::move(base), std::make_unique<PythonModel>(model),
                                            options, evaluator_, std::move(sink), runner_.get(),
                                            &ranks_);
    });
    for (const at::Tensor& tensor : optimizer_->trained()) {
      trained_.emplace_back(tensor, tensor.device());
    }
  }

  py::object step(const py::object& closure) {
    guarded([&] {
      if (closure.is_none()) {
        leaps_->step();
      } else {
        leaps_->step([&] {
          optimizer_->closure_result = closure();
          return at::Tensor();
        });
      }
    });
    optimizer_->closure_result = py::none();
    return std::exchange(optimizer_->step_result, py::none());
  }

  py::object step_on(std::int64_t sequences, const py::object& losses, const py::object& backward,
                     bool seen) {
    py::object loss = py::none();
    TrainingBatch batch;
    batch.sequences = sequences;
    batch.losses = [&] { return call(losses).cast<at::Tensor>(); };
    batch.backward = [&] {
      loss = call(backward);
      return at::Tensor();
    };
    batch.seen = seen;
    guarded([&] { leaps_->step(batch); });
    return loss;
  }

  /// Whether what is trained is still what was at construction, on the same device.
  bool fits() const {
    const std::vector<at::Tensor> now = optimizer_->trained();
    return std::equal(now.begin(), now.end(), trained_.begin(), trained_.end(),
                      [](const at::Tensor& tensor, const auto& then) {
                        return tensor.is_same(then.first) && tensor.device() == then.second;
                      });
  }

  std::vector<at::Tensor> trained() const {
    std::vector<at::Tensor> tensors;
    for (const auto& [tensor, device] : trained_) tensors.push_back(tensor);
    return tensors;
  }

  bool has_gradients() const { return optimizer_->has_gradients(); }

  py::dict status() const {
    const Status now = leaps_->status();
    py::dict out;
    out["step"] = now.step;
    out["regime"] = name_of(now.regime);
    out["tries"] = now.ledger.tries;
    out["candidates"] = now.ledger.candidates;
    out["accepted"] = now.ledger.accepted;
    out["false_accepts"] = now.ledger.false_accepts;
    out["looks"] = now.ledger.looks;
    out["went_back"] = now.ledger.went_back;
    out["forwards"] = now.ledger.forwards();
    out["steps_saved"] = now.ledger.steps_saved;
    out["overhead"] = now.overhead;
    out["learning_rate_scale"] = now.learning_rate_scale;
    out["free_rate"] = now.free_rate > 0 ? py::object(py::float_(now.free_rate)) : py::none();
    out["best_step"] = now.best_step;
    out["off_reason"] = now.off_reason;
    return out;
  }

  std::pair<std::int64_t, double> try_cost(std::int64_t sequences) const {
    const TryCost cost = leaps_->try_cost(sequences);
    return {cost.least, cost.allowed};
  }

  std::int64_t memory_bytes() const { return leaps_->memory_bytes(); }
  bool has_average() const { return leaps_->has_average(); }
  void stand_still() { leaps_->stand_still(); }

  py::object at_average(const py::object& function) {
    py::object result;
    guarded([&] { leaps_->at_average([&] { result = call(function); }); });
    return result;
  }

  std::pair<std::string, std::vector<std::pair<std::string, at::Tensor>>> state() const {
    LeapVerifyState now = leaps_->state();
    return {std::move(now.json), std::move(now.tensors)};
  }

  void restore(const std::string& json,
               const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
    leaps_->restore({json, tensors});
  }

 private:
  /// An Interruption becomes the Python exception again that it holds.
  template <class Action>
  static void guarded(Action action) {
    try {
      action();
    } catch (const Interruption& interruption) {
      std::rethrow_exception(interruption.error);
    }
  }

  PythonEvaluator evaluator_;
  PythonCollective ranks_;
  std::unique_ptr<PythonStepRunner> runner_;
  std::unique_ptr<LeapVerify> leaps_;
  // Owned by leaps_.
  PythonOptimizer* optimizer_ = nullptr;
  std::vector<std::pair<at::Tensor, at::Device>> trained_;
};

Options preset(const std::string& name) {
  std::string names;
  for (const auto& known : EnumNames<OptionsPreset>::names) {
    if (name == known.name) return Options::of(known.value);
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  throw InvalidOption("preset", name, "one of " + names);
}

PYBIND11_MODULE(_core, m) {
  m.doc() = "The C++ core of leapverify; use it through leapverify.LeapVerify.";
  // The last that is registered is asked first.
  const auto error = py::register_exception<Error>(m, "Error", PyExc_RuntimeError);
  const py::tuple value_error = py::make_tuple(error, py::handle(PyExc_ValueError));
  py::register_exception<ContractError>(m, "ContractError", error);
  py::register_exception<FormatError>(m, "FormatError", value_error);
  py::register_exception<InvalidOption>(m, "InvalidOption", value_error);
  py::register_exception<FileError>(m, "FileError", error);
  py::register_exception<CollectiveError>(m, "CollectiveError", error);

  py::class_<Options>(m, "Options", "Checked options of one wrapper.")
      .def(
          py::init([](const std::string& name, const py::dict& values, std::int64_t planned_steps) {
            Options options = preset(name);
            set_options(options, values);
            options.planned_steps = planned_steps;
            options.validate();
            return options;
          }),
          py::arg("preset"), py::arg("values"), py::arg("planned_steps"))
      .def_property_readonly("enabled", [](const Options& options) { return options.enabled; })
      .def_property_readonly(
          "touches_moments",
          [](const Options& options) { return options.moments != MomentPolicy::kKeep; })
      .def_property_readonly("no_try_reason", &Options::no_try_reason)
      .def_property_readonly("is_free", [](const Options& options) { return options.rate.free; })
      .def_property_readonly(
          "asks_for_losses",
          [](const Options& options) {
            return options.enabled &&
                   !(options.rate.free && options.rate.looks == 0 && options.probes == 0);
          })
      .def_property_readonly("ends_at_average",
                             [](const Options& options) { return options.rate.free; })
      .def_property_readonly("tells_by_activations",
                             [](const Options& options) {
                               return options.detector.signal == SignalKind::kActivationCosine &&
                                      options.probes > 0;
                             })
      .def("describe", &describe_options);

  py::class_<TraceFile>(m, "TraceFile")
      .def(py::init<const std::string&, std::int64_t>(), py::arg("path"), py::arg("bytes"))
      .def("write", &TraceFile::write)
      .def("sync", &TraceFile::sync)
      .def_property_readonly("bytes", &TraceFile::bytes);

  py::class_<Engine>(m, "Engine")
      .def(py::init<const py::object&, const py::object&, const py::object&, const Options&,
                    const py::object&, const py::object&, const py::object&>(),
           py::arg("optimizer"), py::arg("model"), py::arg("evaluator"), py::arg("options"),
           py::arg("trace"), py::arg("runner"), py::arg("ranks"))
      .def("step", &Engine::step)
      .def("step_on", &Engine::step_on)
      .def("fits", &Engine::fits)
      .def("trained", &Engine::trained)
      .def("has_gradients", &Engine::has_gradients)
      .def("status", &Engine::status)
      .def("try_cost", &Engine::try_cost)
      .def("memory_bytes", &Engine::memory_bytes)
      .def("has_average", &Engine::has_average)
      .def("stand_still", &Engine::stand_still)
      .def("at_average", &Engine::at_average)
      .def("state", &Engine::state)
      .def("restore", &Engine::restore);
}

}  // namespace
}  // namespace leapverify::python

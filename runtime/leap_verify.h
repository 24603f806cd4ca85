// The wrapper around an optimizer: predicts the weights some steps ahead, and raises the learning
// rate or leaps there when held-out loss says that it pays.
#pragma once

#include <leapverify/runtime/evaluator.h>
#include <leapverify/runtime/policy/collective.h>
#include <leapverify/runtime/policy/options.h>
#include <leapverify/runtime/policy/verifier.h>
#include <leapverify/runtime/step_runner.h>
#include <leapverify/runtime/trace.h>
#include <leapverify/runtime/training_batch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace torch::nn {
class Module;
}
namespace torch::optim {
class Optimizer;
}

namespace leapverify {

class BaseOptimizer;
class TrainedModel;

/// A model given as torch::nn::Module&, std::shared_ptr to one, or a module holder.
class ModelReference {
 public:
  ModelReference(torch::nn::Module& model) : model_(&model) {}  // NOLINT: implicit on purpose
  template <class Pointer, class = std::enable_if_t<std::is_convertible_v<
                               decltype(*std::declval<Pointer&>()), torch::nn::Module&>>>
  ModelReference(Pointer& model) : model_(&*model) {}  // NOLINT: implicit on purpose

  torch::nn::Module& get() const { return *model_; }

 private:
  torch::nn::Module* model_;
};

/// Where a run stands, for a progress display.
struct Status {
  std::int64_t step = 0;
  Regime regime = Regime::kTransition;
  policy::Ledger ledger;
  /// Share of all cost so far that went into probes and verification, in cost units.
  double overhead = 0;
  /// Factor on the scheduled learning rate (on_accept: rate or both).
  double learning_rate_scale = 1;
  /// The same as the last step was taken with it.
  double step_scale = 1;
  /// With rate.free: the largest learning rate of the param groups in force.
  double free_rate = 0;
  /// With rate.looks: of the best average so far, 0 for the start.
  std::int64_t best_step = 0;
  /// Why leaps are off, when they are off for the rest of the run.
  std::string off_reason;
};

/// What tries cost, in forward passes of a sequence.
struct TryCost {
  /// Of one, at the least.
  std::int64_t least = 0;
  /// What the cap allows for the whole run: probes and tries that do not raise the learning rate.
  double allowed = 0;
  /// With rate.looks: how many there will be.
  std::int64_t looks = 0;
};

/// Weights that were trained elsewhere.
struct Offer {
  /// Steps that they are ahead of those of now.
  std::int64_t steps = 0;
  /// Of what is trained, in the base optimizer's order, on the same device.
  std::vector<at::Tensor> weights;
  /// Takes over what belongs to them, such as the optimizer's state, once they are verified. Where it
  /// throws it must leave all as it was, and the offer is refused.
  std::function<void()> accept;
};

struct Answer {
  bool accepted = false;
  policy::Decision decision;
  /// Passes of a sequence that it took.
  std::int64_t forwards = 0;
};

/// State for a checkpoint: beside it belong the model, the base optimizer and the random
/// generators.
struct LeapVerifyState {
  std::string json;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
};

/// Use it in place of the base optimizer's step(); learning-rate schedules stay on the base
/// optimizer.
///
/// Promises: a rejected leap leaves weights, buffers, optimizer state, gradients and random
/// generators bitwise what they were; with `enabled: false`, or with every leap rejected, training
/// is bitwise that of the base optimizer, unless rate.start, rate.stride or rate.free are set; with
/// the last a step undoes what changed the weights since the last one. Parameters keep their
/// storage. Those that do not require gradients are neither kept nor changed, and may not come to
/// later: step() throws ContractError when others require them than at construction. Gradient
/// accumulation: call step() once an optimizer step, as with the base optimizer.
class LeapVerify {
 public:
  /// All references must outlive this object. `trace` gets every event. `runner` is needed for
  /// options that rehearse or skip steps (step_runner.h). `ranks`: the processes that train the same
  /// weights, each with the same options and evaluator; all functions are then called on every one.
  /// They share the gate sequences and decide alike; what fails on one ends the leap on all. step()
  /// throws RankMismatch where they differ in options, evaluators, state or weights, at first or after a
  /// leap, and CollectiveError where one does not answer.
  /// Memory: one copy of the trained weights and of the buffers on the parameters' device, the
  /// weights' average with reference: denoised, and the snapshots that the predictor and the look
  /// back need in the format of Options::snapshots, or with rate.free, in their place, the iterate, the
  /// average of all iterates and a sample of some MiB; see memory_bytes(). Throws InvalidOption for illegal options, an unsupported base optimizer or a gate set that is too
  /// small; ContractError for parameters on several devices or with gaps in memory.
  LeapVerify(torch::optim::Optimizer& base, ModelReference model, const Options& options,
             Evaluator& evaluator, TraceSink trace = nullptr, StepRunner* runner = nullptr,
             Collective* ranks = nullptr);
  /// The same for an optimizer and a model of another kind (base_optimizer.h, trained_model.h).
  LeapVerify(std::unique_ptr<BaseOptimizer> base, std::unique_ptr<TrainedModel> model,
             const Options& options, Evaluator& evaluator, TraceSink trace = nullptr,
             StepRunner* runner = nullptr, Collective* ranks = nullptr);
  ~LeapVerify();
  LeapVerify(const LeapVerify&) = delete;
  LeapVerify& operator=(const LeapVerify&) = delete;

  /// One step of the base optimizer, then an observation and perhaps a leap when they are due.
  /// With `snapshots: host` on a GPU the copy of an observation runs until the next step(), and
  /// nothing else may change the weights before that.
  /// Returns what the base optimizer returns. Exceptions of the base optimizer pass; those of the
  /// evaluator end the leap and are traced.
  at::Tensor step(const std::function<at::Tensor()>& closure = nullptr);

  /// The same for a step given as its parts. With `gate: next_batch` a leap that is due is tried on
  /// the batch before the step is taken on it: each point that is compared costs a training forward
  /// pass of the batch, and the step's own follows, bitwise as without the try. Returns what
  /// `backward` returns.
  at::Tensor step(const TrainingBatch& batch);

  void zero_grad(bool set_to_none = true);

  Status status() const;

  /// For training batches of so many sequences, where gate: next_batch compares on them; zeros with
  /// `enabled: false`.
  TryCost try_cost(std::int64_t batch_sequences) const;

  /// Device memory taken beyond training itself.
  std::int64_t memory_bytes() const;

  /// In place of a step() that would move nothing, as at a rate of 0: it is not counted, and the run ends
  /// a step earlier by what step() counts.
  void stand_still();

  /// Whether an average of the recent weights is kept and followed: with reference: denoised, after
  /// the first step, while leaps are on. With rate.free it is that of all iterates.
  bool has_average() const;

  /// Runs `action` with that average in the weights' place, and then puts back every byte of the
  /// weights, also when it throws. The average lacks most of the noise of single batches, so that
  /// while the learning rate is high its loss is lower than that of the weights. Throws ContractError
  /// where there is none, and within an evaluator or another action; step() within it throws too.
  void at_average(const std::function<void()>& action);

  /// Weights to train others from: of so many steps ahead, as the first predictor of the options sees
  /// them, or, where snapshots have begun anew, by the `way` that was walked in as many steps before;
  /// copies. Empty but at an observation with enough snapshots or where there are none; where a number is
  /// not finite; where offer_obstacle() tells one; and where a factor above 1 on the learning rate is
  /// about to change with the schedule.
  std::vector<at::Tensor> predict(std::int64_t horizon, const std::vector<at::Tensor>& way = {});

  /// Why an offer would be refused whatever it is; empty where it would be judged.
  std::string offer_obstacle() const;

  /// Judges weights as it judges candidates, within the cap. Accepted, they are those of training, so
  /// many steps further, and snapshots begin anew; refused, everything is bitwise what it was. Not
  /// traced. Throws ContractError with `enabled: false` and where the shapes do not fit.
  Answer offer(const Offer& offer);

  LeapVerifyState state() const;
  /// Throws FormatError when the state does not fit this object, which must then be discarded.
  void restore(const LeapVerifyState& state);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace leapverify

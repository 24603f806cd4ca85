// Steps of training that are taken back.
#pragma once

#include <leapverify/runtime/base_optimizer.h>
#include <leapverify/runtime/random_state.h>
#include <leapverify/runtime/step_runner.h>
#include <leapverify/runtime/tensor_list.h>
#include <leapverify/runtime/trained_model.h>

#include <functional>
#include <vector>

namespace leapverify {

/// For its lifetime steps may be taken; afterwards all that training changes besides the weights
/// themselves is bitwise what it was: optimizer state and learning rates, gradients of all the model's
/// parameters, buffers, the average, the weights' version counters, random generators and the
/// positions of the runner, also when an exception passes. The weights are those of the
/// LeapTransaction around it.
/// Memory, meanwhile: two copies of the optimizer's state, one of the buffers and of the average, and a
/// second set of gradients.
class Rehearsal {
 public:
  /// average: null where none is kept.
  Rehearsal(BaseOptimizer& base, const TrainedModel& model, const TensorList& weights,
            const TensorList& buffers, const TensorList* average, StepRunner& runner);
  ~Rehearsal();
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

  /// Puts everything back. Throws when a part of it failed, after the others were put back; the
  /// destructor, which does it where an exception passes, then writes to stderr instead.
  void end();

 private:
  const TensorList& weights_;
  const TensorList& buffers_;
  const TensorList* average_;
  StepRunner& runner_;
  TrainingPosition position_;
  RandomState random_;
  std::function<void()> put_state_back_;
  TensorList saved_buffers_;
  TensorList saved_average_;
  struct Gradient {
    at::Tensor parameter;
    at::Tensor value;
  };
  std::vector<Gradient> gradients_;
  std::vector<std::int64_t> versions_;
  bool ended_ = false;
};

}  // namespace leapverify

// Steps of training that are taken back.
#pragma once

#include <leapverify/runtime/optimizer_state.h>
#include <leapverify/runtime/random_state.h>
#include <leapverify/runtime/step_runner.h>
#include <leapverify/runtime/tensor_list.h>
#include <torch/torch.h>

#include <vector>

namespace leapverify {

/// For its lifetime steps may be taken; afterwards all that training changes besides the weights
/// themselves is bitwise what it was: optimizer state and learning rates, gradients, buffers, the
/// average, the weights' version counters, random generators and the positions of the runner, also
/// when an exception passes. The weights are those of the LeapTransaction around it.
/// Memory, meanwhile: a copy of the optimizer's state, of the buffers and of the average, and a second
/// set of gradients.
class Rehearsal {
 public:
  /// average: null where none is kept.
  Rehearsal(torch::optim::Optimizer& base, const TensorList& weights, const TensorList& buffers,
            const TensorList* average, StepRunner& runner);
  ~Rehearsal();
  Rehearsal(const Rehearsal&) = delete;
  Rehearsal& operator=(const Rehearsal&) = delete;

 private:
  void restore();

  torch::optim::Optimizer& base_;
  const TensorList& weights_;
  const TensorList& buffers_;
  const TensorList* average_;
  StepRunner& runner_;
  TrainingPosition position_;
  RandomState random_;
  OptimizerState optimizer_;
  TensorList saved_buffers_;
  TensorList saved_average_;
  std::vector<at::Tensor> gradients_;
  std::vector<std::int64_t> versions_;
};

}  // namespace leapverify

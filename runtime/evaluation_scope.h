// Lets the model run without leaving a trace.
#pragma once

#include <ATen/core/grad_mode.h>
#include <leapverify/runtime/random_state.h>
#include <leapverify/runtime/tensor_list.h>
#include <leapverify/runtime/trained_model.h>

#include <functional>

namespace leapverify {

/// For its lifetime gradients are off, and the model is in evaluation mode unless it is to stay as it
/// is; afterwards every submodule's mode, every buffer and the random generators are bitwise what
/// they were, also when an exception passes.
class EvaluationScope {
 public:
  enum class Mode { kEvaluation, kAsItIs };

  /// `saved_buffers` is a list like `buffers`, allocated once, that holds them meanwhile.
  EvaluationScope(TrainedModel& model, const TensorList& buffers, const TensorList& saved_buffers,
                  at::Device device, Mode mode = Mode::kEvaluation);
  ~EvaluationScope();
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  at::NoGradGuard no_grad_;
  const TensorList& buffers_;
  const TensorList& saved_buffers_;
  at::Device device_;
  RandomState random_;
  std::function<void()> put_modes_back_;
};

}  // namespace leapverify

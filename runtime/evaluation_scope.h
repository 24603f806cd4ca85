// Lets the model run without leaving a trace.
#pragma once

#include <leapverify/runtime/random_state.h>
#include <leapverify/runtime/tensor_list.h>
#include <torch/torch.h>

#include <utility>
#include <vector>

namespace leapverify {

/// For its lifetime gradients are off, and the model is in evaluation mode unless it is to stay as it
/// is; afterwards every submodule's mode, every buffer and the random generators are bitwise what
/// they were, also when an exception passes.
class EvaluationScope {
 public:
  enum class Mode { kEvaluation, kAsItIs };

  /// `saved_buffers` is a list like `buffers`, allocated once, that holds them meanwhile.
  EvaluationScope(torch::nn::Module& model, const TensorList& buffers,
                  const TensorList& saved_buffers, at::Device device,
                  Mode mode = Mode::kEvaluation);
  ~EvaluationScope();
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  torch::NoGradGuard no_grad_;
  torch::nn::Module& model_;
  std::vector<std::pair<torch::nn::Module*, bool>> modes_;
  const TensorList& buffers_;
  const TensorList& saved_buffers_;
  at::Device device_;
  RandomState random_;
};

}  // namespace leapverify

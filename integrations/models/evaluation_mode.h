// Evaluation mode for the length of a scope.
#pragma once

#include <torch/torch.h>

namespace leapverify::models {

/// Switches a module to evaluation mode and gradients off; afterwards the mode that the module
/// itself had is that of all its parts, and gradients are as before.
class EvaluationMode {
 public:
  explicit EvaluationMode(torch::nn::Module& module)
      : module_(module), was_training_(module.is_training()) {
    module_.eval();
  }
  ~EvaluationMode() { module_.train(was_training_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  torch::NoGradGuard no_grad_;
  torch::nn::Module& module_;
  bool was_training_;
};

}  // namespace leapverify::models

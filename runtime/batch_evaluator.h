// A ready evaluator over a gate set that fits into memory.
#pragma once

#include <leapverify/runtime/evaluator.h>

#include <functional>

namespace leapverify {

/// Runs a function of the user's on slices of two tensors.
class BatchEvaluator : public Evaluator {
 public:
  /// Runs the model on (inputs, targets) slices along dimension 0.
  using Forward = std::function<Evaluation(const at::Tensor& inputs, const at::Tensor& targets)>;

  /// inputs, targets: [sequences × …]. `sequences_per_step`: what one training step trains on;
  /// `batch`: sequences a forward pass. Throws ContractError when the numbers do not fit.
  BatchEvaluator(at::Tensor inputs, at::Tensor targets, std::int64_t sequences_per_step,
                 Forward forward, std::int64_t batch = 32);

  std::int64_t sequence_count() const override { return inputs_.size(0); }
  double step_cost() const override { return 3.0 * static_cast<double>(sequences_per_step_); }
  Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool activations) override;

 private:
  at::Tensor inputs_;
  at::Tensor targets_;
  std::int64_t sequences_per_step_;
  Forward forward_;
  std::int64_t batch_;
};

}  // namespace leapverify

// Held-out losses and activations of a language model, both from one forward pass.
#pragma once

#include <leapverify/integrations/data/text.h>
#include <leapverify/integrations/models/language_model.h>
#include <leapverify/runtime/evaluator.h>

#include <vector>

namespace leapverify::trainer {

/// Tokens and targets, [rows × context] int64 each; targets that do not count are data::kIgnored.
struct TokenBatch {
  torch::Tensor tokens;
  torch::Tensor targets;
};

/// Mean loss, in nats, of the tokens that count in the first `count` validation sequences (all of
/// them if fewer), at most `rows` a forward pass, in evaluation mode; the model's mode is restored.
double validation_loss(models::LanguageModel& model, const data::Text& text, std::int64_t count,
                       std::int64_t rows, torch::Device device);

/// Evaluates gate sequences of `text`; the activation of a sequence is the final norm's at its last
/// position.
class LanguageEvaluator : public Evaluator {
 public:
  /// `rows`: sequences of a training step, and most of a forward pass here.
  LanguageEvaluator(models::LanguageModel& model, const data::Text& text, std::int64_t rows,
                    torch::Device device)
      : model_(model), text_(text), rows_(rows), device_(device) {}

  std::int64_t sequence_count() const override { return text_.gate_size(); }
  double step_cost() const override { return 3.0 * static_cast<double>(rows_); }
  Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool activations) override;

 private:
  models::LanguageModel& model_;
  const data::Text& text_;
  std::int64_t rows_;
  torch::Device device_;
};

}  // namespace leapverify::trainer

// Held-out losses and activations of a language model, both from one forward pass.
#pragma once

#include <leapverify/integrations/data/text.h>
#include <leapverify/integrations/models/language_model.h>
#include <leapverify/integrations/trainer/token_batch.h>
#include <leapverify/runtime/evaluator.h>

#include <vector>

namespace leapverify::trainer {

/// Mean loss, in nats, of the tokens that count in the first `count` validation sequences (all of
/// them if fewer), in evaluation mode; the model's mode is restored.
double validation_loss(models::LanguageModel& model, const data::Text& text, std::int64_t count,
                       const PassSettings& settings);

/// Evaluates gate sequences of `text`; the activation of a sequence is the final norm's at its last
/// position.
class LanguageEvaluator : public Evaluator {
 public:
  /// `sequences_of_step`: of a training step.
  LanguageEvaluator(models::LanguageModel& model, const data::Text& text,
                    std::int64_t sequences_of_step, const PassSettings& settings)
      : model_(model), text_(text), sequences_of_step_(sequences_of_step), settings_(settings) {}

  std::int64_t sequence_count() const override { return text_.gate_size(); }
  double step_cost() const override { return 3.0 * static_cast<double>(sequences_of_step_); }
  Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool activations) override;

 private:
  models::LanguageModel& model_;
  const data::Text& text_;
  std::int64_t sequences_of_step_;
  PassSettings settings_;
};

}  // namespace leapverify::trainer

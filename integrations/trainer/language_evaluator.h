// Held-out losses and activations of a language model, both from one forward pass.
#pragma once

#include <leapverify/integrations/data/text.h>
#include <leapverify/integrations/distributed/communicator.h>
#include <leapverify/integrations/models/language_model.h>
#include <leapverify/integrations/trainer/token_batch.h>
#include <leapverify/runtime/evaluator.h>

#include <vector>

namespace leapverify::trainer {

/// Mean loss, in nats, of the tokens that count in the first `count` validation sequences (all of
/// them if fewer), in evaluation mode; the model's mode is restored. Each rank runs its part of them,
/// and all return the same.
double validation_loss(models::LanguageModel& model, const data::Text& text, std::int64_t count,
                       const PassSettings& settings, Collective& ranks = distributed::alone());

/// Of a training step, in forward passes of a sequence, by counting products of activations and
/// weights. A forward pass takes one product for each weight, and so does the gradient of the
/// activations; that of the weights takes one for each weight that is trained. Activation checkpointing
/// runs forward once more. With s the share of the parameters that are trained:
///
///     sequences · (1 + 1 + s + [checkpointed]),
///
/// so 3 for a sequence, about 2 with adapters, where s is some hundredths, and 1 more with activation
/// checkpointing. Parameters that enter no product are few, or are the output head too.
double step_cost(const torch::nn::Module& model, bool activation_checkpointing,
                 std::int64_t sequences);

/// Evaluates gate sequences of `text`; the activation of a sequence is the final norm's at its last
/// position.
class LanguageEvaluator : public Evaluator {
 public:
  /// `cost_of_step`: as step_cost() of the run has it.
  LanguageEvaluator(models::LanguageModel& model, const data::Text& text, double cost_of_step,
                    const PassSettings& settings)
      : model_(model), text_(text), cost_of_step_(cost_of_step), settings_(settings) {}

  std::int64_t sequence_count() const override { return text_.gate_size(); }
  double step_cost() const override { return cost_of_step_; }
  Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool activations) override;

 private:
  models::LanguageModel& model_;
  const data::Text& text_;
  double cost_of_step_;
  PassSettings settings_;
};

}  // namespace leapverify::trainer

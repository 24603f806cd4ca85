// The forward and backward passes of a training step, one for each micro-batch.
#pragma once

#include <leapverify/integrations/distributed/gradient_buckets.h>
#include <leapverify/integrations/models/language_model.h>
#include <leapverify/integrations/trainer/captured_pass.h>
#include <leapverify/integrations/trainer/token_batch.h>

#include <optional>

namespace leapverify::trainer {

/// A batch runs through the model in parts of at most PassSettings::rows sequences, in order. A step's
/// result does not depend on the parts but for rounding and dropout.
class TrainingPasses {
 public:
  /// `ranks`: those that train together, each on its part of a batch.
  TrainingPasses(models::LanguageModel& model, const PassSettings& settings,
                 distributed::Communicator& ranks = distributed::alone());

  /// Adds the gradients of the mean loss over all tokens of the batch, on all ranks, that count to those
  /// there are; these then become their sum over the ranks. Returns this rank's part of the loss, a
  /// scalar on the device.
  torch::Tensor backward(const TokenBatch& batch);

  /// The loss of each sequence, in nats per token, from the same forward passes.
  torch::Tensor sequence_losses(const TokenBatch& batch);

 private:
  torch::Tensor summed_loss(const TokenBatch& part);
  /// Backward; returns the part's share in the loss.
  torch::Tensor add_gradients(const TokenBatch& part, const torch::Tensor& counted);

  models::LanguageModel& model_;
  PassSettings settings_;
  distributed::Communicator& ranks_;
  std::optional<distributed::GradientBuckets> buckets_;
  std::optional<CapturedPass> captured_;
};

}  // namespace leapverify::trainer

// The steps of a run up to the optimizer's, at any position of its data and its schedule.
#pragma once

#include <leapverify/integrations/models/pretrained_model.h>
#include <leapverify/integrations/trainer/batch_loader.h>
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/training_passes.h>
#include <leapverify/runtime/step_runner.h>
#include <torch/torch.h>

#include <memory>

namespace leapverify::trainer {

/// What a step is made of. All references must outlive this.
class TrainingSteps : public StepRunner {
 public:
  TrainingSteps(const Config& config, const PassSettings& settings, const data::Text& text,
                models::PretrainedModel& model, torch::optim::Optimizer& base,
                distributed::Communicator& ranks = distributed::alone());

  TrainingPosition position() const override { return position_; }
  void seek(const TrainingPosition& position) override { position_ = position; }
  void backward() override { loss_ = gradients_of(take_batch()); }
  /// Of the last backward(), this rank's part.
  torch::Tensor loss() const { return loss_; }

  /// Sequences of a step on this rank.
  std::int64_t sequences() const { return sequences_; }

  /// This rank's part of the batch at the data position, with the learning rates set that the schedule
  /// says; moves both positions on.
  TokenBatch take_batch();
  /// Zeroes the gradients, runs forward and backward, clips; returns this rank's part of the loss.
  torch::Tensor gradients_of(const TokenBatch& batch);
  torch::Tensor sequence_losses(const TokenBatch& batch) { return passes_.sequence_losses(batch); }

 private:
  const Config& config_;
  models::PretrainedModel& model_;
  torch::optim::Optimizer& base_;
  std::int64_t sequences_;
  BatchLoader batches_;
  TrainingPasses passes_;
  TrainingPosition position_;
  torch::Tensor loss_;
};

}  // namespace leapverify::trainer

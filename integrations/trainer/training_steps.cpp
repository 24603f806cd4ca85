#include <leapverify/integrations/trainer/base_optimizer.h>
#include <leapverify/integrations/trainer/clip_gradients.h>
#include <leapverify/integrations/trainer/schedule.h>
#include <leapverify/integrations/trainer/training_steps.h>

#include <algorithm>

namespace leapverify::trainer {

TrainingSteps::TrainingSteps(const Config& config, const PassSettings& settings,
                             const data::Text& text, models::PretrainedModel& model,
                             torch::optim::Optimizer& base, distributed::Communicator& ranks)
    : config_(config),
      model_(model),
      base_(base),
      sequences_(config.batch.sequences_of_step() / ranks.size()),
      batches_(text, ranks.rank() * sequences_, sequences_, settings),
      passes_(model, settings, ranks) {}

TokenBatch TrainingSteps::take_batch() {
  // After leaps that advance it the schedule may be over before the run is.
  const std::int64_t step = std::min(position_.schedule + 1, config_.run.steps);
  set_rates(base_, config_.optimizer, schedule_factor(config_.schedule, step, config_.run.steps));
  ++position_.schedule;
  return batches_.take(position_.data++);
}

torch::Tensor TrainingSteps::gradients_of(const TokenBatch& batch) {
  base_.zero_grad();
  torch::Tensor loss = passes_.backward(batch);
  if (config_.optimizer.clip > 0) clip_gradients(model_.parameters(), config_.optimizer.clip);
  return loss;
}

}  // namespace leapverify::trainer

#include <leapverify/integrations/trainer/training_passes.h>

#include <vector>

namespace leapverify::trainer {

torch::Tensor TrainingPasses::summed_loss(const TokenBatch& part) {
  const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
  return models::cross_entropy(model_.forward(part.tokens), part.targets, at::Reduction::Sum);
}

torch::Tensor TrainingPasses::backward(const TokenBatch& batch) {
  const torch::Tensor counted = batch.targets.ne(models::kIgnoredTarget).sum();
  torch::Tensor mean;
  in_parts(batch.rows(), settings_.rows, [&](std::int64_t first, std::int64_t count) {
    const torch::Tensor share = summed_loss(batch.narrow(first, count)) / counted;
    share.backward();
    mean = mean.defined() ? mean + share.detach() : share.detach();
  });
  return mean;
}

torch::Tensor TrainingPasses::sequence_losses(const TokenBatch& batch) {
  std::vector<torch::Tensor> losses;
  in_parts(batch.rows(), settings_.rows, [&](std::int64_t first, std::int64_t count) {
    const TokenBatch part = batch.narrow(first, count);
    const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
    losses.push_back(models::sequence_losses(model_, model_.hidden(part.tokens), part.targets));
  });
  return torch::cat(losses);
}

}  // namespace leapverify::trainer

#include <leapverify/integrations/trainer/training_passes.h>

#include <algorithm>
#include <vector>

namespace leapverify::trainer {
namespace {

/// Calls action(part) for consecutive parts of at most `rows` sequences.
template <class Action>
void in_parts(const TokenBatch& batch, std::int64_t rows, Action action) {
  for (std::int64_t first = 0; first < batch.rows(); first += rows) {
    action(batch.narrow(first, std::min(rows, batch.rows() - first)));
  }
}

}  // namespace

torch::Tensor TrainingPasses::summed_loss(const TokenBatch& part) {
  const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
  return models::cross_entropy(model_.forward(part.tokens), part.targets, at::Reduction::Sum);
}

torch::Tensor TrainingPasses::backward(const TokenBatch& batch) {
  const torch::Tensor counted = batch.targets.ne(models::kIgnoredTarget).sum();
  torch::Tensor mean;
  in_parts(batch, settings_.rows, [&](const TokenBatch& part) {
    const torch::Tensor share = summed_loss(part) / counted;
    share.backward();
    mean = mean.defined() ? mean + share.detach() : share.detach();
  });
  return mean;
}

torch::Tensor TrainingPasses::sequence_losses(const TokenBatch& batch) {
  std::vector<torch::Tensor> losses;
  in_parts(batch, settings_.rows, [&](const TokenBatch& part) {
    const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
    losses.push_back(models::sequence_losses(model_, model_.hidden(part.tokens), part.targets));
  });
  return torch::cat(losses);
}

}  // namespace leapverify::trainer

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

torch::Tensor TrainingPasses::mean_loss(const TokenBatch& part) {
  const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
  return torch::nn::functional::cross_entropy(
      model_.forward(part.tokens).flatten(0, 1).to(torch::kFloat), part.targets.flatten());
}

torch::Tensor TrainingPasses::backward(const TokenBatch& batch) {
  torch::Tensor sum;
  in_parts(batch, settings_.rows, [&](const TokenBatch& part) {
    const double share = static_cast<double>(part.rows()) / static_cast<double>(batch.rows());
    const torch::Tensor loss = mean_loss(part);
    loss.backward(torch::full_like(loss, share));
    const torch::Tensor weighted = loss.detach() * share;
    sum = sum.defined() ? sum + weighted : weighted;
  });
  return sum;
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

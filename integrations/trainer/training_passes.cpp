#include <leapverify/integrations/trainer/training_passes.h>

#include <vector>

namespace leapverify::trainer {
namespace {

std::vector<torch::Tensor> trained_parameters(const torch::nn::Module& model) {
  std::vector<torch::Tensor> trained;
  for (const torch::Tensor& parameter : model.parameters()) {
    if (parameter.requires_grad()) trained.push_back(parameter);
  }
  return trained;
}

}  // namespace

TrainingPasses::TrainingPasses(models::LanguageModel& model, const PassSettings& settings,
                               distributed::Communicator& ranks)
    : model_(model), settings_(settings), ranks_(ranks) {
  if (ranks.size() > 1) buckets_.emplace(trained_parameters(model), ranks);
}

torch::Tensor TrainingPasses::summed_loss(const TokenBatch& part) {
  const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
  return models::cross_entropy(model_.forward(part.tokens), part.targets, at::Reduction::Sum);
}

torch::Tensor TrainingPasses::backward(const TokenBatch& batch) {
  const torch::Tensor counted = batch.targets.ne(models::kIgnoredTarget).sum();
  ranks_.start_sum(counted)->wait();
  torch::Tensor mean;
  in_parts(batch.rows(), settings_.rows, [&](std::int64_t first, std::int64_t count) {
    const torch::Tensor share = summed_loss(batch.narrow(first, count)) / counted;
    if (buckets_ && first + count == batch.rows()) buckets_->begin();
    share.backward();
    mean = mean.defined() ? mean + share.detach() : share.detach();
  });
  if (buckets_) buckets_->finish();
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

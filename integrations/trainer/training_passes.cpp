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
  if (settings.cuda_graph) {
    captured_.emplace(model, [this](const TokenBatch& part, const torch::Tensor& counted) {
      return add_gradients(part, counted);
    });
  }
}

torch::Tensor TrainingPasses::summed_loss(const TokenBatch& part) {
  const models::AutocastScope autocast(settings_.device.type(), settings_.autocast);
  return models::head_cross_entropy(model_, model_.hidden(part.tokens), part.targets,
                                    at::Reduction::Sum);
}

torch::Tensor TrainingPasses::add_gradients(const TokenBatch& part, const torch::Tensor& counted) {
  const torch::Tensor share = summed_loss(part) / counted;
  share.backward();
  return share.detach();
}

torch::Tensor TrainingPasses::backward(const TokenBatch& batch) {
  const torch::Tensor counted = batch.targets.ne(models::kIgnoredTarget).sum();
  ranks_.start_sum(counted)->wait();
  torch::Tensor mean;
  in_parts(batch.rows(), settings_.rows, [&](std::int64_t first, std::int64_t count) {
    if (buckets_ && first + count == batch.rows()) buckets_->begin();
    const TokenBatch part = batch.narrow(first, count);
    const bool replays = captured_ && count == settings_.rows;
    const torch::Tensor share =
        replays ? captured_->run(part, counted) : add_gradients(part, counted);
    mean = mean.defined() ? mean + share : share;
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

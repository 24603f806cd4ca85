#include <leapverify/runtime/batch_norm.h>

#include <algorithm>

namespace leapverify {
namespace {

/// Calls action(batch_norm) for every batch norm that keeps statistics.
template <class Action>
void for_each_batch_norm(torch::nn::Module& model, Action action) {
  const auto visit = [&](auto* norm) {
    if (norm != nullptr && norm->running_mean.defined()) action(*norm);
  };
  // Without the model itself, which need not be held by a shared pointer.
  for (const auto& module : model.modules(/*include_self=*/false)) {
    visit(dynamic_cast<torch::nn::BatchNorm1dImpl*>(module.get()));
    visit(dynamic_cast<torch::nn::BatchNorm2dImpl*>(module.get()));
    visit(dynamic_cast<torch::nn::BatchNorm3dImpl*>(module.get()));
  }
}

}  // namespace

BatchNormCollection::BatchNormCollection(torch::nn::Module& model) {
  const torch::NoGradGuard no_grad;
  for_each_batch_norm(model, [this](auto& norm) {
    if (!norm.is_training()) return;
    saved_.push_back({&norm, &norm.options, norm.options.momentum(), norm.num_batches_tracked});
    norm.reset_running_stats();
    norm.options.momentum(std::nullopt);
  });
}

BatchNormCollection::~BatchNormCollection() {
  for (const Saved& saved : saved_) saved.options->momentum(saved.momentum);
}

void BatchNormCollection::start() {
  for (const Saved& saved : saved_) saved.module->train();
}

bool BatchNormCollection::complete() const {
  return std::all_of(saved_.begin(), saved_.end(),
                     [](const Saved& saved) { return saved.passes.item<std::int64_t>() > 0; });
}

std::vector<at::Tensor> running_statistics(torch::nn::Module& model) {
  std::vector<at::Tensor> statistics;
  for_each_batch_norm(model, [&](auto& norm) {
    statistics.push_back(norm.running_mean);
    statistics.push_back(norm.running_var);
  });
  return statistics;
}

std::vector<at::Tensor> running_variances(torch::nn::Module& model) {
  std::vector<at::Tensor> variances;
  for_each_batch_norm(model, [&](auto& norm) { variances.push_back(norm.running_var); });
  return variances;
}

}  // namespace leapverify

#include <leapverify/runtime/batch_norm.h>

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
    saved_.push_back({&norm, &norm.options, norm.options.momentum(), norm.is_training()});
    norm.reset_running_stats();
    norm.options.momentum(std::nullopt);
    norm.train();
  });
}

BatchNormCollection::~BatchNormCollection() {
  for (const Saved& saved : saved_) {
    saved.options->momentum(saved.momentum);
    saved.module->train(saved.training);
  }
}

std::vector<at::Tensor> running_variances(torch::nn::Module& model) {
  std::vector<at::Tensor> variances;
  for_each_batch_norm(model, [&](auto& norm) { variances.push_back(norm.running_var); });
  return variances;
}

}  // namespace leapverify

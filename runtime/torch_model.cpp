#include <leapverify/runtime/torch_model.h>
#include <torch/torch.h>

#include <algorithm>
#include <optional>
#include <utility>

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

class TorchStatisticsCollection : public StatisticsCollection {
 public:
  explicit TorchStatisticsCollection(torch::nn::Module& model) {
    const torch::NoGradGuard no_grad;
    for_each_batch_norm(model, [this](auto& norm) {
      if (!norm.is_training()) return;
      saved_.push_back({&norm, &norm.options, norm.options.momentum(), norm.num_batches_tracked});
      norm.reset_running_stats();
      norm.options.momentum(std::nullopt);
    });
  }
  ~TorchStatisticsCollection() override {
    for (const Saved& saved : saved_) saved.options->momentum(saved.momentum);
  }

  void start() override {
    for (const Saved& saved : saved_) saved.module->train();
  }
  bool complete() const override {
    return std::all_of(saved_.begin(), saved_.end(),
                       [](const Saved& saved) { return saved.passes.item<std::int64_t>() > 0; });
  }

 private:
  struct Saved {
    torch::nn::Module* module;
    torch::nn::BatchNormOptions* options;
    std::optional<double> momentum;
    at::Tensor passes;
  };
  std::vector<Saved> saved_;
};

}  // namespace

std::vector<at::Tensor> TorchModel::parameters() const { return model_.parameters(); }

std::vector<at::Tensor> TorchModel::buffers() const { return model_.buffers(); }

std::function<void()> TorchModel::enter(bool evaluation_mode) {
  std::vector<std::pair<torch::nn::Module*, bool>> modes{{&model_, model_.is_training()}};
  for (const auto& module : model_.modules(/*include_self=*/false)) {
    modes.emplace_back(module.get(), module->is_training());
  }
  if (evaluation_mode) model_.eval();
  // train() recurses; parents come before their children, so each module's own mode is set last.
  return [modes = std::move(modes)] {
    for (const auto& [module, training] : modes) module->train(training);
  };
}

std::vector<at::Tensor> TorchModel::running_statistics() const {
  std::vector<at::Tensor> statistics;
  for_each_batch_norm(model_, [&](auto& norm) {
    statistics.push_back(norm.running_mean);
    statistics.push_back(norm.running_var);
  });
  return statistics;
}

std::vector<at::Tensor> TorchModel::running_variances() const {
  std::vector<at::Tensor> variances;
  for_each_batch_norm(model_, [&](auto& norm) { variances.push_back(norm.running_var); });
  return variances;
}

std::unique_ptr<StatisticsCollection> TorchModel::collect_statistics() {
  return std::make_unique<TorchStatisticsCollection>(model_);
}

}  // namespace leapverify

#include <leapverify/runtime/evaluation_scope.h>

namespace leapverify {

EvaluationScope::EvaluationScope(torch::nn::Module& model, const TensorList& buffers,
                                 const TensorList& saved_buffers, at::Device device)
    : model_(model),
      buffers_(buffers),
      saved_buffers_(saved_buffers),
      device_(device),
      random_(capture_random_state(device)) {
  modes_.emplace_back(&model_, model_.is_training());
  for (const auto& module : model_.modules(/*include_self=*/false)) {
    modes_.emplace_back(module.get(), module->is_training());
  }
  saved_buffers_.copy_from(buffers_);
  model_.eval();
}

EvaluationScope::~EvaluationScope() {
  // train() recurses; parents come before their children, so each module's own mode is set last.
  for (const auto& [module, training] : modes_) module->train(training);
  buffers_.copy_from(saved_buffers_);
  restore_random_state(random_, device_);
}

}  // namespace leapverify

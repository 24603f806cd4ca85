#include <leapverify/integrations/trainer/base_optimizer.h>
#include <leapverify/runtime/fused_adamw.h>

#include <utility>

namespace leapverify::trainer {

std::unique_ptr<torch::optim::Optimizer> make_base_optimizer(
    const OptimizerOptions& options, std::vector<torch::Tensor> parameters) {
  if (options.name == OptimizerName::kSgd) {
    return std::make_unique<torch::optim::SGD>(std::move(parameters),
                                               torch::optim::SGDOptions(options.lr)
                                                   .momentum(options.momentum)
                                                   .weight_decay(options.weight_decay));
  }
  return std::make_unique<FusedAdamW>(std::move(parameters),
                                      torch::optim::AdamWOptions(options.lr)
                                          .betas({options.beta1, options.beta2})
                                          .eps(options.eps)
                                          .weight_decay(options.weight_decay));
}

}  // namespace leapverify::trainer

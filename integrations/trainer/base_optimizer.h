// The optimizer that LeapVerify wraps, from the config.
#pragma once

#include <leapverify/integrations/trainer/config.h>
#include <torch/torch.h>

#include <memory>
#include <vector>

namespace leapverify::trainer {

std::unique_ptr<torch::optim::Optimizer> make_base_optimizer(const OptimizerOptions& options,
                                                             std::vector<torch::Tensor> parameters);

}  // namespace leapverify::trainer

// The optimizer that LeapVerify wraps, from the config.
#pragma once

#include <leapverify/integrations/trainer/config.h>
#include <torch/torch.h>

#include <memory>
#include <vector>

namespace leapverify::trainer {

/// What a parameter is, by which its weight decay and its optimizer are chosen.
enum class ParameterKind {
  kMatrix,
  /// Token and position embeddings, and an output head.
  kEmbedding,
  /// Norms and biases.
  kVector
};

/// A group for each kind that the model has, in that order whatever the options, so that a checkpoint
/// fits other options too. Parameters that need no gradient are left out. The model must be held by a
/// std::shared_ptr.
std::unique_ptr<torch::optim::Optimizer> make_base_optimizer(const OptimizerOptions& options,
                                                             torch::nn::Module& model);

/// Sets each group's learning rate to `factor` times the configured one.
void set_rates(torch::optim::Optimizer& optimizer, const OptimizerOptions& options, double factor);

}  // namespace leapverify::trainer

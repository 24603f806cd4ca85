// Clipping of gradients that never waits for the device.
#pragma once

#include <torch/torch.h>

#include <vector>

namespace leapverify::trainer {

/// g ← g · min(1, max_norm / (‖g‖ + 1e-6)) for the gradients of all parameters as one vector, those
/// without one left out: as torch::nn::utils::clip_grad_norm_, up to rounding, which synchronises.
/// Takes dense gradients on one device.
void clip_gradients(const std::vector<torch::Tensor>& parameters, double max_norm);

}  // namespace leapverify::trainer

// A training step that failed: what to lower.
#pragma once

#include <leapverify/integrations/trainer/config.h>
#include <torch/torch.h>

#include <exception>
#include <string>

namespace leapverify::trainer {

/// Whether `error` says that memory, of the host or of a GPU, does not suffice.
bool is_out_of_memory(const std::exception& error);

/// One line: that the step does not fit, and what of the config would make it smaller.
std::string out_of_memory_text(const Config& config, std::int64_t step);

/// Throws Error for a loss that is NaN or infinite.
void require_finite(double loss, std::int64_t step);

/// Throws Error for a trained weight that is NaN or infinite, as after a finite loss the gradients may
/// have made it. Waits for the device.
void require_finite(const torch::nn::Module& model, std::int64_t step);

}  // namespace leapverify::trainer

// The state of torch's default random generators on the CPU and, where used, on one CUDA device.
#pragma once

#include <ATen/core/Tensor.h>

namespace leapverify {

struct RandomState {
  /// As given by at::Generator::get_state: uint8 [bytes].
  at::Tensor cpu;
  /// Undefined when the device is not a CUDA device.
  at::Tensor cuda;
};

RandomState capture_random_state(at::Device device);
void restore_random_state(const RandomState& state, at::Device device);

}  // namespace leapverify

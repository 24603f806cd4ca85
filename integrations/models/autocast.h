// Mixed precision for the length of a scope: weights stay fp32, matrix products run in bf16.
#pragma once

#include <ATen/core/Tensor.h>

namespace leapverify::models {

/// How this thread's operations on one kind of device choose their precision.
struct AutocastState {
  bool enabled = false;
  at::ScalarType dtype = at::kBFloat16;
  /// Whether the copy of a weight in the lower precision is kept for its next use.
  bool cached = true;
};

AutocastState autocast_state(at::DeviceType device);

/// Puts a state in force, and the one before back at its end. The cache is empty at both ends: no
/// copy outlives weights that change, and none made without gradients serves where there are some.
/// The backward pass belongs outside.
class AutocastScope {
 public:
  AutocastScope(at::DeviceType device, const AutocastState& state);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  at::DeviceType device_;
  AutocastState outside_;
};

}  // namespace leapverify::models

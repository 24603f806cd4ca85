// The device that is measured: its clock, its caches, its memory, and its own copy as the yardstick.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

namespace leapverify::bench {

class Machine {
 public:
  explicit Machine(torch::Device device);

  torch::Device device() const { return device_; }

  /// Seconds that `work` takes with cold caches, its CUDA work included.
  double seconds(const std::function<void()>& work) const;

  /// destination ← source, at the speed that a plain copy of memory reaches here: the driver's
  /// device-to-device copy, or std::memcpy of one part per thread.
  void copy(const torch::Tensor& destination, const torch::Tensor& source) const;

  /// Bytes that may be allocated yet.
  std::int64_t free_bytes() const;

 private:
  void flush_caches() const;

  torch::Device device_;
  torch::Tensor flush_;
};

}  // namespace leapverify::bench

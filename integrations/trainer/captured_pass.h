// A forward and backward pass that is captured once as a CUDA graph and then replayed.
#pragma once

#include <leapverify/integrations/trainer/token_batch.h>

#include <functional>
#include <memory>
#include <vector>

namespace leapverify::trainer {

/// Launching a replay costs the host next to nothing, so it pays where the GPU waits for launches. What
/// it computes is what the pass computes, with other draws of dropout in each replay. Takes as much
/// memory as a pass for as long as it lives.
class CapturedPass {
 public:
  /// Adds the gradients of a part of a batch to those there are, without waiting for the GPU; returns
  /// its detached loss. `counted`: a scalar on the GPU.
  using Pass = std::function<torch::Tensor(const TokenBatch& part, const torch::Tensor& counted)>;

  /// `model`: what the pass runs. Throws Error in a build without CUDA.
  CapturedPass(const torch::nn::Module& model, Pass pass);
  ~CapturedPass();
  CapturedPass(const CapturedPass&) = delete;
  CapturedPass& operator=(const CapturedPass&) = delete;

  /// As the pass. Parts must be of one shape. The first three calls are plain passes; after that the
  /// gradients lie in the same memory in each call.
  torch::Tensor run(const TokenBatch& part, const torch::Tensor& counted);

 private:
  class Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace leapverify::trainer

// Batch norm's running statistics, made anew for weights that training did not come by.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <vector>

namespace leapverify {

/// Running statistics made anew: from construction on every batch norm of the model that is training
/// starts them anew, and from start() to destruction takes their plain mean over the forward passes
/// that follow (as for averaged weights: Izmailov et al. 2018). Afterwards its momentum is what it was;
/// the statistics stay. The modes are the caller's to restore.
class BatchNormCollection {
 public:
  explicit BatchNormCollection(torch::nn::Module& model);
  ~BatchNormCollection();
  BatchNormCollection(const BatchNormCollection&) = delete;
  BatchNormCollection& operator=(const BatchNormCollection&) = delete;

  void start();
  /// Whether every one of them has seen a forward pass.
  bool complete() const;

 private:
  struct Saved {
    torch::nn::Module* module;
    torch::nn::BatchNormOptions* options;
    std::optional<double> momentum;
    at::Tensor passes;
  };
  std::vector<Saved> saved_;
};

/// Running means and variances of the model's batch norms.
std::vector<at::Tensor> running_statistics(torch::nn::Module& model);
std::vector<at::Tensor> running_variances(torch::nn::Module& model);

}  // namespace leapverify

// Batch norm's running statistics, made anew for weights that training did not come by.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <vector>

namespace leapverify {

/// For its lifetime every batch norm of the model starts its running statistics anew and takes their
/// plain mean over the forward passes that follow (as for averaged weights: Izmailov et al. 2018).
/// Afterwards its mode and momentum are what they were; the statistics stay.
class BatchNormCollection {
 public:
  explicit BatchNormCollection(torch::nn::Module& model);
  ~BatchNormCollection();
  BatchNormCollection(const BatchNormCollection&) = delete;
  BatchNormCollection& operator=(const BatchNormCollection&) = delete;

 private:
  struct Saved {
    torch::nn::Module* module;
    torch::nn::BatchNormOptions* options;
    std::optional<double> momentum;
    bool training;
  };
  std::vector<Saved> saved_;
};

/// The running variances among the model's buffers.
std::vector<at::Tensor> running_variances(torch::nn::Module& model);

}  // namespace leapverify

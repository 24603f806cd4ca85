// LibTorch's modules as LeapVerify sees them.
#pragma once

#include <leapverify/runtime/trained_model.h>

namespace torch::nn {
class Module;
}

namespace leapverify {

/// Refers to a model that must outlive it.
class TorchModel : public TrainedModel {
 public:
  explicit TorchModel(torch::nn::Module& model) : model_(model) {}

  std::vector<at::Tensor> parameters() const override;
  std::vector<at::Tensor> buffers() const override;
  std::function<void()> enter(bool evaluation_mode) override;
  std::vector<at::Tensor> running_statistics() const override;
  std::vector<at::Tensor> running_variances() const override;
  std::unique_ptr<StatisticsCollection> collect_statistics() override;

 private:
  torch::nn::Module& model_;
};

}  // namespace leapverify

// What LeapVerify asks of the model that it trains, in whichever language that is written.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <vector>

namespace leapverify {

/// Running statistics of batch norm made anew: from construction on every batch norm of the model
/// that is training starts them anew, and from start() to destruction takes their plain mean over the
/// forward passes that follow (as for averaged weights: Izmailov et al. 2018). Afterwards its momentum
/// is what it was; the statistics stay. The modes are the caller's to restore.
class StatisticsCollection {
 public:
  virtual ~StatisticsCollection() = default;

  virtual void start() = 0;
  /// Whether every batch norm has seen a forward pass.
  virtual bool complete() const = 0;
};

/// A model seen as modules with modes and buffers. TorchModel is that of LibTorch's.
class TrainedModel {
 public:
  virtual ~TrainedModel() = default;

  virtual std::vector<at::Tensor> parameters() const = 0;
  virtual std::vector<at::Tensor> buffers() const = 0;

  /// Makes the model ready to be run on other weights than those of training, in evaluation mode or
  /// as it is; the function returned puts each module's own mode back.
  virtual std::function<void()> enter(bool evaluation_mode) = 0;

  /// Running means and variances of the batch norms that keep them, and the variances alone.
  virtual std::vector<at::Tensor> running_statistics() const = 0;
  virtual std::vector<at::Tensor> running_variances() const = 0;
  virtual std::unique_ptr<StatisticsCollection> collect_statistics() = 0;
};

}  // namespace leapverify

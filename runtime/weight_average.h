// The denoised weights: a running average of the recent iterates.
#pragma once

#include <leapverify/runtime/tensor_list.h>

namespace leapverify {

/// θ̄ ← decay · θ̄ + (1 − decay) · θ after every step, from θ̄ = θ at the first. Kept in at least
/// float32, one launch an update. Gradient noise hides the valley floor from the weights themselves;
/// their average lies on it, about 1 / (1 − decay) steps behind.
class WeightAverage {
 public:
  /// Memory: 4 bytes a parameter (8 for float64) on the weights' device.
  WeightAverage(const TensorList& weights, double decay);

  /// The weights of now are the whole average, unless it is known.
  void begin();
  /// It is not known any more.
  void forget() { has_begun_ = false; }
  bool has_begun() const { return has_begun_; }
  /// After the contents of tensors() were written.
  void restore() { has_begun_ = true; }

  /// Takes the weights of now in. Neither synchronises nor allocates.
  void update();

  const TensorList& tensors() const { return average_; }

 private:
  const TensorList* weights_;
  TensorList average_;
  // Coefficients of begin and of update, on the device.
  at::Tensor coefficients_;
  bool has_begun_ = false;
};

}  // namespace leapverify

// The iterate, its average over the whole run, and the weights between both at which gradients are taken.
#pragma once

#include <leapverify/runtime/tensor_list.h>

namespace leapverify {

/// Averaging in place of a learning rate that falls (Schedule-Free: Defazio et al., The Road Less
/// Scheduled, arXiv 2405.15682). The base optimizer steps the iterate z with gradients of the weights
/// y, and the average x is what a run is for:
///
///     x ← x + share · (z − x),  share = weight ÷ (sum of the weights so far);  y ← z + pull · (x − z).
///
/// Memory: 4 bytes a parameter (8 for float64) for x, and the weights' own dtype for z, on their device.
class IterateAverage {
 public:
  explicit IterateAverage(const TensorList& weights);

  /// The weights of now become iterate and average, unless these are known.
  void begin();
  /// Neither is known any more.
  void forget();

  /// The weights become the iterate, for a step on it. Does not synchronise.
  void before_step();

  /// The weights are the new iterate: takes it in.
  void take_in(double weight);

  /// Writes y. Does not synchronise; from the same x, z and pull the same bytes.
  void place(double pull);
  /// Writes it again, with the last pull.
  void place() { place(pull_); }

  /// Writes x into the weights.
  void place_average();

  const TensorList& iterate() const { return iterate_; }
  const TensorList& average() const { return average_; }

  bool has_begun() const { return has_begun_; }
  double total() const { return total_; }
  double pull() const { return pull_; }
  /// After the contents of iterate() and average() were written.
  void restore(double total, double pull);

 private:
  /// destination ← (1 − share) · from + share · to, which may be the destination; what has no part is
  /// not read.
  void mix(const TensorList& destination, const TensorList& from, const TensorList& to,
           double share);

  const TensorList* weights_;
  TensorList iterate_;
  TensorList average_;
  // Of mix, on the device: 1 - share and share.
  at::Tensor coefficients_;
  bool has_begun_ = false;
  double total_ = 0;
  double pull_ = 0;
};

}  // namespace leapverify

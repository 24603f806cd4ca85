// The iterate, its average over the whole run, and the weights between both at which gradients are taken.
#pragma once

#include <leapverify/runtime/tensor_list.h>

namespace leapverify {

/// Averaging in place of a learning rate that falls (Schedule-Free: Defazio et al., The Road Less
/// Scheduled, arXiv 2405.15682). The base optimizer steps the weights y, where its gradients are of.
/// The iterate z goes the same way, and the average x of all iterates is what a run is for:
///
///     z ← z + (y after the step − y before),
///     x ← x + share · (z − x), share = weight ÷ (sum of the weights so far),
///     y ← z + pull · (x − z).
///
/// What else changes the weights between two steps moves z too, but for the first step after
/// restore(), which begins at y whatever the weights are. Memory: 4 bytes a parameter (8 for
/// float64) for x, and the weights' own dtype for z, on their device.
class IterateAverage {
 public:
  explicit IterateAverage(const TensorList& weights);

  /// The weights of now become iterate and average, unless these are known; after restore() they are
  /// placed.
  void begin();
  /// Neither is known any more.
  void forget();
  /// An earlier average, with the sum of the weights of then, becomes the average, the iterate and, in
  /// their dtype, the weights. Does not synchronise.
  void go_to(const TensorList& average, double total);

  /// After the base optimizer's step: all three recursions, in one pass. Does not synchronise.
  void take_in(double weight, double pull);

  /// Writes y: from the same x, z and pull the same bytes. Does not synchronise.
  void place();

  const TensorList& iterate() const { return iterate_; }
  const TensorList& average() const { return average_; }

  /// All iterates so far weigh so much more.
  void reweigh(double factor) { total_ *= factor; }

  bool has_begun() const { return has_begun_; }
  double total() const { return total_; }
  double pull() const { return pull_; }
  /// After the contents of iterate() and average() were written.
  void restore(double total, double pull);

 private:
  const TensorList* weights_;
  TensorList iterate_;
  TensorList average_;
  bool has_begun_ = false;
  bool is_restored_ = false;
  double total_ = 0;
  double pull_ = 0;
};

}  // namespace leapverify

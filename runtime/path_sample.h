// How far weights have gone since they began, and how far from where they were of late, without a copy of them.
#pragma once

#include <leapverify/runtime/tensor_list.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace leapverify {

/// Distances along the way of a list of tensors, told by some 2^18 of their elements, evenly
/// spread. Memory: four copies of these in their own dtype, float32 at least, on their device.
class PathSample {
 public:
  explicit PathSample(const TensorList& tensors);

  /// The tensors of now are where the way begins, and their running average, unless these are known.
  void begin();
  /// Neither is known any more.
  void forget() { has_begun_ = has_average_ = false; }

  /// Of all elements, as those sampled tell: squared distance from where the way began, and from where
  /// they were at the last call, or at begin().
  struct Squares {
    double from_start = 0;
    double moved = 0;
  };
  /// Synchronises.
  Squares take();

  /// The tensors of now are their running average.
  void start_average();
  /// average ← decay · average + (1 − decay) · tensors, in one launch. Does not synchronise.
  void update_average(double decay);
  /// Squared norm of all elements, as those sampled tell, and squared distance from the running average.
  /// Synchronises.
  struct Stride {
    double norm = 0;
    double from_average = 0;
  };
  Stride stride();

  /// The product of gradients, one for each of the tensors and undefined where there is none, with the way
  /// of other tensors of the same shapes and layouts from where it began: what the loss rises by over that
  /// way, were it a plane. As those sampled tell. Synchronises.
  double slope(const std::vector<at::Tensor>& gradients,
               const std::vector<at::Tensor>& tensors) const;

  /// What a checkpoint keeps: the elements at the beginning, at the last call, and on average.
  const TensorList& first() const { return first_; }
  const TensorList& last() const { return last_; }
  const TensorList& average() const { return average_; }
  bool has_begun() const { return has_begun_; }
  bool has_average() const { return has_average_; }
  /// After the contents of first() and last(), of average(), were written.
  void restore_way() { has_begun_ = true; }
  void restore_average() { has_average_ = true; }

  std::int64_t byte_count() const;

 private:
  void read(const TensorList& into) const;
  /// Of one of the tensors, or what lies like it: from its first sampled element on.
  struct Part {
    std::size_t tensor;
    std::int64_t first;
    std::int64_t length;

    at::Tensor of(const at::Tensor& like) const;
  };
  /// Those elements of the parts of others.
  TensorList sample_of(const std::vector<at::Tensor>& parts) const;
  double whole(double distance_of_sample) const {
    return share_ * distance_of_sample * distance_of_sample;
  }

  /// Tensors without a sampled element are left out.
  std::vector<Part> parts_;
  TensorList sampled_;
  std::int64_t spacing_ = 1;
  /// All elements over those sampled.
  double share_ = 1;
  TensorList first_;
  TensorList last_;
  TensorList average_;
  TensorList now_;
  bool has_begun_ = false;
  bool has_average_ = false;
};

}  // namespace leapverify

// How far weights have gone since they began, without a copy of where that was.
#pragma once

#include <leapverify/runtime/tensor_list.h>

#include <cstdint>

namespace leapverify {

/// Distances along the way of a list of tensors, told by at most 2^18 of their elements, evenly
/// spread. Memory: three copies of these in the widest of the tensors' dtypes, float32 at least, on
/// their device.
class PathSample {
 public:
  explicit PathSample(const TensorList& tensors);

  /// The tensors of now are where the way begins, unless that is known.
  void begin();
  /// It is not known any more.
  void forget() { has_begun_ = false; }

  /// Of all elements, as those sampled tell: squared distance from where the way began, and from where
  /// they were at the last call, or at begin().
  struct Squares {
    double from_start = 0;
    double moved = 0;
  };
  /// Synchronises.
  Squares take();

  /// What a checkpoint keeps: the elements at the beginning and at the last call, one tensor each.
  const TensorList& first() const { return first_; }
  const TensorList& last() const { return last_; }
  bool has_begun() const { return has_begun_; }
  /// After their contents were written.
  void restore() { has_begun_ = true; }

  std::int64_t byte_count() const;

 private:
  void read(const TensorList& into) const;

  std::vector<at::Tensor> sampled_;
  /// All elements over those sampled.
  double share_ = 1;
  TensorList first_;
  TensorList last_;
  TensorList now_;
  bool has_begun_ = false;
};

}  // namespace leapverify

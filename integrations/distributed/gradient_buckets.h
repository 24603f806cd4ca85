// Gradients summed over the ranks while the backward pass goes on.
#pragma once

#include <leapverify/integrations/distributed/communicator.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace leapverify::distributed {

/// As DistributedDataParallel does (Li et al. 2020): gradients are sent in buckets, the last
/// parameters' first, each as soon as the backward pass has completed all of it.
class GradientBuckets {
 public:
  static constexpr std::int64_t kBytes = std::int64_t{25} << 20;

  /// Of parameters that require gradients, the same on every rank; both outlive this. A bucket holds
  /// one parameter at the least, and else at most `bytes`. Takes as much memory as the gradients.
  GradientBuckets(std::vector<at::Tensor> parameters, Communicator& ranks,
                  std::int64_t bytes = kBytes);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  std::int64_t bucket_count() const;

  /// Before the last backward pass of a step: from here on complete gradients are sent.
  void begin();

  /// After it: sends what is left, and returns when every gradient holds the sum over the ranks. A
  /// parameter without one on any rank stays without. Throws CollectiveError.
  void finish();

 private:
  struct Bucket;
  struct Place;

  void complete(std::size_t parameter);
  void send_ready();
  void send(Bucket& bucket);

  std::vector<at::Tensor> parameters_;
  Communicator& ranks_;
  std::vector<Bucket> buckets_;
  std::vector<Place> places_;
  /// Sums begin in this order on every rank.
  std::size_t next_ = 0;
  bool sending_ = false;
};

}  // namespace leapverify::distributed

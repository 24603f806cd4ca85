// A Collective over c10d's key-value store: slow, and there before any engine is.
#pragma once

#include <leapverify/runtime/policy/collective.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <cstdint>

namespace leapverify::distributed {

/// Every rank reads what each of the others has written.
class StoreCollective : public Collective {
 public:
  /// Keys begin with "leapverify/"; one such object at a time may use the store.
  StoreCollective(c10::intrusive_ptr<c10d::Store> store, int rank, int size,
                  std::chrono::milliseconds timeout)
      : store_(std::move(store)), rank_(rank), size_(size), timeout_(timeout) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void sum(std::vector<double>& values) override;

  /// Before the processes end: the first rank, which may hold the store, waits some seconds for the
  /// others to have read what they want.
  void leave() noexcept;

 private:
  c10::intrusive_ptr<c10d::Store> store_;
  int rank_;
  int size_;
  std::chrono::milliseconds timeout_;
  std::int64_t sums_ = 0;
};

}  // namespace leapverify::distributed

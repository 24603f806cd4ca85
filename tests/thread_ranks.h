// Ranks of one process: a thread each, which meet in memory.
#pragma once

#include <leapverify/runtime/policy/collective.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace leapverify {

/// Where the threads meet. Sums are taken in the order of the ranks.
class ThreadGroup {
 public:
  explicit ThreadGroup(int size, std::chrono::milliseconds timeout = std::chrono::seconds(20))
      : given_(static_cast<std::size_t>(size)), timeout_(timeout) {}

  int size() const { return static_cast<int>(given_.size()); }

  void sum(int rank, std::vector<double>& values) {
    std::unique_lock<std::mutex> lock(mutex_);
    wait(lock, [&] { return leaving_ == 0; });
    given_[static_cast<std::size_t>(rank)] = values;
    if (++arrived_ == size()) {
      leaving_ = size();
      changed_.notify_all();
    } else {
      wait(lock, [&] { return leaving_ > 0; });
    }
    for (const std::vector<double>& one : given_) {
      if (one.size() != values.size()) broken_ = true;
    }
    if (broken_) {
      changed_.notify_all();
      throw CollectiveError("the ranks are out of step");
    }
    std::vector<double> total(values.size());
    for (const std::vector<double>& one : given_) {
      for (std::size_t i = 0; i < total.size(); ++i) total[i] += one[i];
    }
    values = total;
    if (--leaving_ == 0) {
      arrived_ = 0;
      changed_.notify_all();
    }
  }

 private:
  template <class Condition>
  void wait(std::unique_lock<std::mutex>& lock, Condition condition) {
    const bool came = changed_.wait_for(lock, timeout_, [&] { return broken_ || condition(); });
    if (came && !broken_) return;
    broken_ = true;
    changed_.notify_all();
    throw CollectiveError("a rank does not answer");
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<double>> given_;
  std::chrono::milliseconds timeout_;
  int arrived_ = 0;
  int leaving_ = 0;
  bool broken_ = false;
};

class ThreadRank : public Collective {
 public:
  ThreadRank(ThreadGroup& group, int rank) : group_(group), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return group_.size(); }
  void sum(std::vector<double>& values) override {
    if (before_sum) before_sum(sums);
    ++sums;
    group_.sum(rank_, values);
  }

  /// So far.
  int sums = 0;
  /// Called with their number so far; may throw, as a fault inside a collective.
  std::function<void(int)> before_sum;

 private:
  ThreadGroup& group_;
  int rank_;
};

/// Runs the action on so many ranks at once; returns what each threw, empty where nothing.
inline std::vector<std::string> on_ranks(
    int size, const std::function<void(ThreadRank&)>& action,
    std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
  ThreadGroup group(size, timeout);
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadRank own(group, rank);
      try {
        action(own);
      } catch (const std::exception& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

}  // namespace leapverify

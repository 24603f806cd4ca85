// Makes numbered items ahead of who takes them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace leapverify::data {

/// A thread makes the items after the one taken last. take() belongs to one thread.
template <class Item>
class Prefetcher {
 public:
  /// Must be a function of the index alone; is called by the prefetcher's thread.
  using Make = std::function<Item(std::int64_t index)>;

  /// At most `depth` ≥ 1 items wait to be taken.
  Prefetcher(Make make, std::int64_t depth)
      : make_(std::move(make)),
        depth_(static_cast<std::size_t>(depth)),
        thread_([this] { run(); }) {}

  /// Waits for an item that is being made.
  ~Prefetcher() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// make(index), index ≥ 0: at once where it follows the last one, and otherwise what was made
  /// ahead is dropped. Throws what make() threw.
  Item take(std::int64_t index) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (index != next_) {
      ready_.clear();
      next_ = index;
      ++seeks_;
      changed_.notify_all();
    }
    changed_.wait(lock, [this] { return !ready_.empty(); });
    Made made = std::move(ready_.front());
    ready_.pop_front();
    ++next_;
    lock.unlock();
    changed_.notify_all();
    if (made.error) std::rethrow_exception(made.error);
    return std::move(*made.item);
  }

 private:
  struct Made {
    std::optional<Item> item;
    std::exception_ptr error;
  };

  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || (next_ >= 0 && ready_.size() < depth_); });
      if (stopping_) return;
      const std::int64_t seeks = seeks_;
      const std::int64_t index = next_ + static_cast<std::int64_t>(ready_.size());
      lock.unlock();
      Made made = make_one(index);
      lock.lock();
      if (seeks != seeks_) continue;  // made for a place that was left meanwhile
      ready_.push_back(std::move(made));
      changed_.notify_all();
    }
  }

  Made make_one(std::int64_t index) const {
    Made made;
    try {
      made.item.emplace(make_(index));
    } catch (...) {
      made.error = std::current_exception();
    }
    return made;
  }

  Make make_;
  std::size_t depth_;
  std::mutex mutex_;
  std::condition_variable changed_;
  /// Of items next_, next_ + 1, …
  std::deque<Made> ready_;
  /// Before the first take() there is nothing to make.
  std::int64_t next_ = -1;
  std::int64_t seeks_ = 0;
  bool stopping_ = false;
  /// Last, so that all else is there when it starts.
  std::thread thread_;
};

}  // namespace leapverify::data

// The ranks of a run, and sums of tensors over them.
#pragma once

#include <ATen/core/Tensor.h>
#include <leapverify/runtime/policy/collective.h>

#include <memory>

namespace leapverify::distributed {

/// A sum that is under way.
class PendingSum {
 public:
  virtual ~PendingSum() = default;
  /// Returns when the tensor holds the sum, for work that follows on the current stream. Throws
  /// CollectiveError where a rank does not answer.
  virtual void wait() = 0;
};

class Communicator : public Collective {
 public:
  /// Starts to replace each element of a contiguous tensor by its sum over the ranks, bitwise the same
  /// on all; nothing may touch the tensor before wait(). All ranks start the same sums in the same
  /// order. May be called by any thread, by one at a time.
  virtual std::unique_ptr<PendingSum> start_sum(const at::Tensor& values) = 0;

  /// Ends what this rank has begun, and with MPI all ranks, so that none waits for the time-out; other
  /// launchers end the rest when this process has ended.
  virtual void abort() noexcept = 0;
};

/// A process that trains alone.
class Alone : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void sum(std::vector<double>&) override {}
  std::unique_ptr<PendingSum> start_sum(const at::Tensor&) override {
    struct Done : PendingSum {
      void wait() override {}
    };
    return std::make_unique<Done>();
  }
  void abort() noexcept override {}
};

inline Communicator& alone() {
  static Alone process;
  return process;
}

}  // namespace leapverify::distributed

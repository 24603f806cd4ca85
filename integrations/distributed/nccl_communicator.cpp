#include <leapverify/integrations/distributed/nccl_communicator.h>
#include <leapverify/runtime/error_text.h>
#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <cstdlib>
#include <thread>
#include <utility>

namespace leapverify::distributed {
namespace {

class NcclSum : public PendingSum {
 public:
  explicit NcclSum(c10::intrusive_ptr<c10d::Work> work) : work_(std::move(work)) {}

  void wait() override {
    try {
      work_->wait();
    } catch (const std::exception& error) {
      throw CollectiveError("NCCL: " + error_text(error));
    }
  }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
};

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(c10::intrusive_ptr<c10d::Store> store, int rank, int size, int device,
                   std::chrono::milliseconds timeout)
      : device_(torch::kCUDA, static_cast<c10::DeviceIndex>(device)), timeout_(timeout) {
    const auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = timeout;
    group_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(std::move(store), rank, size, options);
  }

  int rank() const override { return group_->getRank(); }
  int size() const override { return group_->getSize(); }

  void sum(std::vector<double>& values) override {
    const torch::Tensor host =
        torch::from_blob(values.data(), {static_cast<std::int64_t>(values.size())}, torch::kDouble);
    const torch::Tensor shared = host.to(device_);
    const c10::intrusive_ptr<c10d::Work> work = start(shared);
    // work->wait() would let the host go on, and then wait for the device without end.
    const auto deadline = std::chrono::steady_clock::now() + timeout_;
    while (!work->isCompleted()) {
      if (std::chrono::steady_clock::now() > deadline) {
        throw CollectiveError("NCCL: the other ranks do not answer within " +
                              std::to_string(timeout_.count() / 1000) + " s");
      }
      std::this_thread::yield();
    }
    NcclSum(work).wait();
    host.copy_(shared);
  }

  std::unique_ptr<PendingSum> start_sum(const at::Tensor& values) override {
    return std::make_unique<NcclSum>(start(values));
  }

  void abort() noexcept override {
    try {
      group_->abort();
    } catch (...) {
      std::abort();
    }
  }

 private:
  c10::intrusive_ptr<c10d::Work> start(const at::Tensor& values) {
    std::vector<at::Tensor> tensors = {values};
    try {
      return group_->allreduce(tensors);
    } catch (const std::exception& error) {
      throw CollectiveError("NCCL: " + error_text(error));
    }
  }

  torch::Device device_;
  std::chrono::milliseconds timeout_;
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> group_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(c10::intrusive_ptr<c10d::Store> store,
                                                     int rank, int size, int device,
                                                     std::chrono::milliseconds timeout) {
  return std::make_unique<NcclCommunicator>(std::move(store), rank, size, device, timeout);
}

}  // namespace leapverify::distributed

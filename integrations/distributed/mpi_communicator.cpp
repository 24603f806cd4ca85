#include <ATen/ATen.h>
#include <leapverify/integrations/distributed/mpi_communicator.h>
#include <mpi.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace leapverify::distributed {
namespace {

void check(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char words[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, words, &length);
  throw CollectiveError(std::string(call) + ": " +
                        std::string(words, static_cast<std::size_t>(length)));
}

MPI_Datatype type_of(const at::Tensor& values) {
  LV_CHECK(values.is_cpu() && values.is_contiguous(), "MPI sums contiguous tensors on the CPU");
  switch (values.scalar_type()) {
    case at::kFloat:
      return MPI_FLOAT;
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kLong:
      return MPI_INT64_T;
    default:
      LV_CHECK(false, "MPI sums float, double and int64, not " << values.scalar_type());
      return MPI_DATATYPE_NULL;
  }
}

class FutureSum : public PendingSum {
 public:
  explicit FutureSum(std::future<void> done) : done_(std::move(done)) {}
  ~FutureSum() override {
    // The tensor must not go while it is being summed.
    if (done_.valid()) done_.wait();
  }
  void wait() override { done_.get(); }

 private:
  std::future<void> done_;
};

/// Does one thing after the other on a thread of its own.
class Worker {
 public:
  Worker() : thread_([this] { run(); }) {}
  ~Worker() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  std::future<void> add(std::function<void()> action) {
    std::packaged_task<void()> task(std::move(action));
    std::future<void> done = task.get_future();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_all();
    return done;
  }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      std::packaged_task<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

class MpiCommunicator : public Communicator {
 public:
  explicit MpiCommunicator(std::chrono::milliseconds timeout) : timeout_(timeout) {
    worker_
        .add([this] {
          int provided = 0;
          // The calling thread becomes MPI's main thread, the one that may call it.
          check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided),
                "MPI_Init_thread");
          MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
          check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
          check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
        })
        .get();
  }

  ~MpiCommunicator() override {
    worker_
        .add([this] {
          // It would wait for ranks that may be lost. mpirun ends the others when a process ends without.
          if (!broken_) MPI_Finalize();
        })
        .wait();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void sum(std::vector<double>& values) override {
    worker_.add([&] { sum(values.data(), values.size(), sizeof(double), MPI_DOUBLE); }).get();
  }

  std::unique_ptr<PendingSum> start_sum(const at::Tensor& values) override {
    const MPI_Datatype type = type_of(values);
    return std::make_unique<FutureSum>(worker_.add([this, values, type] {
      sum(values.data_ptr(), static_cast<std::size_t>(values.numel()), values.element_size(), type);
    }));
  }

  void abort() noexcept override {
    worker_.add([] { MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE); }).wait();
  }

 private:
  void sum(void* data, std::size_t count, std::size_t element, MPI_Datatype type) {
    if (broken_) throw CollectiveError("MPI: the ranks were lost before");
    constexpr std::size_t kMost = std::size_t{1} << 28;
    auto* bytes = static_cast<char*>(data);
    try {
      for (std::size_t first = 0; first < count; first += kMost) {
        const auto part = static_cast<int>(std::min(kMost, count - first));
        MPI_Request request = MPI_REQUEST_NULL;
        check(MPI_Iallreduce(MPI_IN_PLACE, bytes + first * element, part, type, MPI_SUM,
                             MPI_COMM_WORLD, &request),
              "MPI_Iallreduce");
        finish(request);
      }
    } catch (...) {
      broken_ = true;
      throw;
    }
  }

  /// Where more ranks than cores run, whoever waits must let the others work.
  void finish(MPI_Request& request) {
    const auto start = std::chrono::steady_clock::now();
    for (int tests = 0;; ++tests) {
      int done = 0;
      check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "MPI_Test");
      if (done != 0) return;
      const auto waited = std::chrono::steady_clock::now() - start;
      if (waited > timeout_) {
        throw CollectiveError("MPI: the other ranks do not answer within " +
                              std::to_string(timeout_.count() / 1000) + " s");
      }
      if (waited < std::chrono::microseconds(50)) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(waited / 16, kLongestNap));
      }
    }
  }

  static constexpr std::chrono::milliseconds kLongestNap{1};

  std::chrono::milliseconds timeout_;
  int rank_ = 0;
  int size_ = 1;
  bool broken_ = false;
  Worker worker_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(std::chrono::milliseconds timeout) {
  return std::make_unique<MpiCommunicator>(timeout);
}

}  // namespace leapverify::distributed

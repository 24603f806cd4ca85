// Speculative workers: while a run walks K steps, a worker trains the K after those, from the weights
// that are predicted for then, and hands them over where the run arrives nearby and held-out loss agrees.
#pragma once

#include <leapverify/runtime/policy/speculation.h>
#include <leapverify/runtime/speculative_job.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace leapverify {

/// A worker died, hung, or says that it failed.
class WorkerError : public Error {
 public:
  using Error::Error;
};

/// Trains on another device, or on other threads. May be given a job again after each of these.
class SpeculativeWorker {
 public:
  virtual ~SpeculativeWorker() = default;

  /// Begins a job, beside the caller; may wait for one that was cancelled. Throws WorkerError.
  virtual void start(const SpeculativeJob& job) = 0;
  /// What became of it; waits for at most `timeout`. Throws WorkerError.
  virtual SpeculativeResult finish(std::chrono::milliseconds timeout) = 0;
  /// Its result is not wanted any more.
  virtual void cancel() noexcept = 0;
};

/// Keeps one worker busy: as soon as a result was taken over, the next job begins from there, the way
/// that was walked last ahead. A worker that fails costs its job and never the run; after three failures in
/// a row there are no more jobs.
class Speculation {
 public:
  using MakeWorker = std::function<std::unique_ptr<SpeculativeWorker>()>;

  /// All references must outlive this. A worker is made when it is needed. Memory: two copies of the
  /// weights on their device and one, with the optimizer's state, on the host, while a job runs.
  Speculation(const policy::SpeculationOptions& options, LeapVerify& leaps,
              torch::optim::Optimizer& base, StepRunner& runner, MakeWorker make_worker,
              TraceSink trace);

  /// To be called after every step, of which `step` were done, and at most `planned` will be. Begins a
  /// job where weights can be predicted; at a job's end takes its weights, optimizer state and
  /// positions over, or none of them. Returns the steps that the run has gained by that.
  std::int64_t after_step(std::int64_t step, std::int64_t planned);

  /// Taken over so far.
  std::int64_t handoffs() const { return handoffs_; }
  /// Jobs that failed so far, and what the last of them said.
  std::int64_t failures() const { return failures_; }
  const std::string& last_failure() const { return last_failure_; }
  /// Why there are no more jobs.
  const std::string& off_reason() const { return off_reason_; }

  /// For a checkpoint, with the job that runs.
  LeapVerifyState state() const;
  /// Throws FormatError when the state does not fit. go_on() then gives the job to a worker anew.
  void restore(const LeapVerifyState& state);
  void go_on() {
    if (job_) start_worker();
  }

 private:
  void begin(std::int64_t step, bool handed_over);
  void start_worker();
  std::int64_t arrive();
  policy::Arrival measure() const;
  void fail(std::int64_t step, const std::string& reason);

  policy::SpeculationOptions options_;
  LeapVerify& leaps_;
  torch::optim::Optimizer& base_;
  StepRunner& runner_;
  MakeWorker make_worker_;
  TraceSink trace_;
  std::unique_ptr<SpeculativeWorker> worker_;
  std::optional<SpeculativeJob> job_;
  /// Of the job, on the weights' device: where the run was when it began, and where the worker begins.
  std::vector<at::Tensor> begun_at_;
  std::vector<at::Tensor> predicted_;
  /// The way of K steps that was walked before the last offer: for a prediction where snapshots have
  /// begun anew.
  std::vector<at::Tensor> way_;
  std::int64_t handoffs_ = 0;
  std::int64_t failures_ = 0;
  std::string last_failure_;
  int failures_in_row_ = 0;
  std::string off_reason_;
};

}  // namespace leapverify

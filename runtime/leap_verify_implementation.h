// The inside of LeapVerify, shared by the files that implement its parts: stepping and observing
// (leap_verify.cpp), trying leaps (leap_search.cpp), and the state of a checkpoint
// (leap_verify_state.cpp). Internal.
#pragma once

#include <leapverify/runtime/leap_transaction.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/policy/value.h>
#include <leapverify/runtime/snapshot_store.h>
#include <leapverify/runtime/trace_events.h>
#include <leapverify/runtime/weight_average.h>
#include <torch/torch.h>

#include <optional>
#include <string>
#include <vector>

namespace leapverify {

class LeapVerify::Implementation {
 public:
  Implementation(torch::optim::Optimizer& base, torch::nn::Module& model, const Options& options,
                 Evaluator& evaluator, TraceSink trace);

  at::Tensor step(const std::function<at::Tensor()>& closure);
  Status status() const;
  std::int64_t memory_bytes() const;
  torch::optim::Optimizer& base() { return base_; }

  LeapVerifyState state() const;
  void restore(const LeapVerifyState& state);

 private:
  /// A point that a try compares: a candidate; the reference, with horizon 0, which has a prediction
  /// only where it is not the weights; or a look back, with the negative of the steps back.
  struct Point {
    std::int64_t horizon = 0;
    std::optional<policy::Prediction> prediction;
    /// On the first sequences of the try.
    std::vector<double> losses;
  };
  /// What the points of one try are compared on.
  struct Comparison {
    LeapTransaction& transaction;
    std::vector<std::int64_t> sequences;
    /// Horizon of the point that the weights hold, once one was placed.
    std::optional<std::int64_t> placed;
  };

  /// What a try found: the last candidate that was accepted, or that an earlier point is better.
  struct SearchResult {
    std::optional<Point> winner;
    bool looked_back = false;
  };

  /// Writes what the decisions rest on to the trace, at the start and when a resumed run changed it.
  void trace_settings();

  /// A step of the base optimizer that waits for copies of the weights just before it changes them.
  at::Tensor base_step(const std::function<at::Tensor()>& closure);

  static Options validated(const Options& options, const torch::optim::Optimizer& base,
                           const Evaluator& evaluator);

  void emit(const std::string& event) {
    if (trace_) trace_(event);
  }

  policy::Ledger& ledger() { return controller_.state().ledger; }
  policy::Situation situation() const;
  std::int64_t snapshots_to_keep() const;
  void observe();
  void look(ObservationEvent& event);
  /// Distance between the two newest snapshots. Synchronises.
  double last_move() const;
  double activation_signal(const at::Tensor& activations);
  Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool activations);
  std::vector<double> losses_of(const std::vector<std::int64_t>& sequences);
  std::vector<std::int64_t> next_gate_sequences(std::int64_t count);
  /// Where predictions start: the weights, or their average.
  const TensorList& origin() const { return average_ ? average_->tensors() : weights_; }
  Point reference_point() const;
  std::int64_t write(const policy::Prediction& prediction, LeapTransaction& transaction);
  /// The longest leap that the trust region allows. Synchronises where it is bounded.
  double longest_leap() const;
  bool looked_back(Point& reference, Comparison& comparison);
  /// Factor on the learning rate that is in force: 1 where the options do not let it move.
  double rate_scale() const;
  /// Up after a candidate, down after a look back that verified, and the event of it; in mode shadow
  /// it stays.
  void move_rate(bool up);
  /// Writes the point into the weights; returns the number of weights that are not finite.
  std::int64_t place(const Point& point, Comparison& comparison);
  /// Places a point that is to be judged, and begins its event.
  CandidateEvent place_candidate(const Point& point, Comparison& comparison);
  /// Places the point and evaluates it where fewer than `count` of its losses are known.
  void know_losses(Point& point, std::int64_t count, Comparison& comparison);
  policy::Decision compare(Point& reference, Point& candidate, Comparison& comparison);
  /// Adds the losses that the decision was taken on, where they are to be traced.
  void add_losses(CandidateEvent& event, const Point& reference, const Point& candidate) const;
  void try_leap(const std::vector<std::int64_t>& horizons);
  // The canary is evaluated three times on so many sequences.
  static constexpr std::int64_t kCanarySequences = 2;
  /// Why the evaluator cannot be trusted with candidates; empty when it can. Leaves the weights as
  /// they were.
  std::string canary(LeapTransaction& transaction);
  SearchResult search(const std::vector<std::int64_t>& horizons, LeapTransaction& transaction);
  policy::Value worth(const Point& winner, LeapTransaction& transaction);
  /// Makes the winner the weights for good, and carries along what follows them.
  void land(const Point& winner, LeapTransaction& transaction);
  /// Forgets the trajectory: what comes is no evenly spaced continuation of it.
  void begin_stretch();
  /// Forgets what was observed along it, not the snapshots.
  void forget_readings();
  void fail(const std::string& reason, std::int64_t forwards);

  torch::optim::Optimizer& base_;
  torch::nn::Module& model_;
  Options options_;
  Evaluator& evaluator_;
  TraceSink trace_;
  policy::Predictor predictor_;
  Detector detector_;
  policy::Controller controller_;
  policy::Verifier verifier_;
  policy::LossCurve curve_;
  policy::RateScale rate_;
  TensorList weights_;
  TensorList buffers_;
  TensorList saved_weights_;
  TensorList saved_buffers_;
  std::optional<WeightAverage> average_;
  std::optional<SnapshotStore> snapshots_;

  std::string settings_;
  std::string traced_settings_;
  std::int64_t step_ = 0;
  std::int64_t observations_ = 0;
  std::int64_t gate_cursor_ = 0;
  // Sum of the distances between observations, where the trust region needs it.
  double path_ = 0;
  // Probe activations of the last observation, undefined before the first and after a leap.
  at::Tensor activations_;
  std::vector<double> probe_losses_;
  int failures_in_row_ = 0;
  bool canary_passed_ = false;
  std::string off_reason_;
};

}  // namespace leapverify

// The inside of LeapVerify, shared by the files that implement its parts: stepping (leap_verify.cpp),
// observing (leap_observation.cpp), trying leaps (leap_search.cpp), looking at a run whose rate is free
// (free_look.cpp), placing and comparing points (leap_comparison.cpp), and the state of a checkpoint (leap_verify_state.cpp). Internal.
#pragma once

#include <leapverify/runtime/base_optimizer.h>
#include <leapverify/runtime/iterate_average.h>
#include <leapverify/runtime/leap_transaction.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/path_sample.h>
#include <leapverify/runtime/policy/forecast.h>
#include <leapverify/runtime/policy/portfolio.h>
#include <leapverify/runtime/policy/value.h>
#include <leapverify/runtime/replicas.h>
#include <leapverify/runtime/snapshot_store.h>
#include <leapverify/runtime/trace_events.h>
#include <leapverify/runtime/trained_model.h>
#include <leapverify/runtime/weight_average.h>
#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace leapverify {

/// first, first + 1, …
std::vector<std::int64_t> numbers_from(std::int64_t first, std::int64_t count);
std::vector<double> to_host(const at::Tensor& values);

/// Says for the length of a scope that the weights are not those of training.
class Lent {
 public:
  explicit Lent(bool& flag) : flag_(flag) { flag_ = true; }
  ~Lent() { flag_ = false; }
  Lent(const Lent&) = delete;
  Lent& operator=(const Lent&) = delete;

 private:
  bool& flag_;
};

/// A rate that may rise by less is not worth a try.
constexpr double kRoomForATry = 1.2;
constexpr const char* kFreeReason = "with rate.free no candidates are tried";

/// Of held-out losses before anything is compared: told, but no reason to try never again.
class NotFinite : public ContractError {
 public:
  using ContractError::ContractError;
};

class LeapVerify::Implementation {
 public:
  Implementation(std::unique_ptr<BaseOptimizer> base, std::unique_ptr<TrainedModel> model,
                 const Options& options, Evaluator& evaluator, TraceSink trace, StepRunner* runner,
                 Collective* ranks);

  at::Tensor step(const std::function<at::Tensor()>& closure);
  at::Tensor step(const TrainingBatch& batch);
  Status status() const;
  TryCost try_cost(std::int64_t batch_sequences) const;
  std::int64_t memory_bytes() const;
  BaseOptimizer& base() { return *base_; }
  void stand_still() { ++stood_still_; }
  bool has_average() const {
    return iterates_ ? iterates_->has_begun()
                     : average_ && average_->has_begun() && off_reason_.empty();
  }
  void at_average(const std::function<void()>& action);
  std::vector<at::Tensor> predict(std::int64_t horizon, const std::vector<at::Tensor>& way);
  std::string offer_obstacle() const;
  Answer offer(const Offer& offer);

  LeapVerifyState state() const;
  void restore(const LeapVerifyState& state);

 private:
  /// A point that a try compares: a candidate; the reference, with horizon 0, which has a prediction
  /// only where it is not the weights; or a look back, with the negative of the steps back.
  struct Placement {
    std::int64_t non_finite = 0;
    std::uint64_t digest = 0;
    /// From where predictions start; 0 where no trust region bounds it.
    double distance = 0;
  };
  struct Point {
    /// Names it within the try; 0: the reference.
    int id = 0;
    std::int64_t horizon = 0;
    std::optional<policy::Prediction> prediction;
    /// On the first sequences of the try, or on its batch.
    std::vector<double> losses;
    /// Of a point that is given, not predicted.
    const TensorList* weights = nullptr;
    const TensorList* buffers = nullptr;
    /// Of a candidate that was placed.
    std::optional<Placement> placement = std::nullopt;

    std::vector<double> first_losses(std::int64_t count) const {
      return {losses.begin(), losses.begin() + count};
    }
  };
  /// What the points of one try are compared on.
  struct Comparison {
    LeapTransaction& transaction;
    /// Null: on gate sequences.
    const TrainingBatch* batch = nullptr;
    std::vector<std::int64_t> sequences;
    /// The point that the weights hold, once one was placed.
    std::optional<int> placed;
    /// Number of points beside the reference.
    int points = 0;
  };

  /// What a try found: the last candidate that was accepted, or that an earlier point is better.
  struct SearchResult {
    std::optional<Point> winner;
    bool looked_back = false;
    /// Of a candidate it was shown that it is no gain.
    bool refuted = false;
    /// Of the portfolio, whose candidate has won.
    std::optional<std::size_t> member = std::nullopt;
  };

  /// Writes what the decisions rest on to the trace, at the start and when a resumed run changed it.
  void trace_settings();

  /// What precedes the base optimizer's step.
  void begin_step();
  /// What follows the base optimizer's step.
  void follow(bool has_batch);

  /// Throws ContractError when others require gradients than at construction.
  void check_same_parameters() const;
  /// A step of the base optimizer that waits for copies of the weights just before it changes them.
  at::Tensor base_step(const std::function<at::Tensor()>& closure);

  Options validated(const Options& options, const StepRunner* runner) const;
  /// With the stride that a free rate takes for this model.
  Options resolved(Options options) const;
  /// What state() says without what ranks with shards differ in.
  std::string shared_state() const;
  /// Whether any rank was given a batch that was seen before. Throws RankMismatch for batches of unequal
  /// size.
  bool seen_by_any(const TrainingBatch& batch);
  /// Whether every rank holds the same weights; with a model split by hand each has its part.
  bool replicated() const {
    return replicas_.size() > 1 && !base_->sharded() && !evaluator_.together();
  }
  /// Before the first step: throws CollectiveError where the ranks have not the same options, evaluator,
  /// state and weights.
  void require_same_ranks();

  void emit(const std::string& event) {
    if (trace_) trace_(event);
  }

  policy::Ledger& ledger() { return controller_.state().ledger; }
  policy::Situation situation() const;
  std::int64_t snapshots_to_keep() const;
  /// Forwards without which a try decides nothing.
  std::int64_t least_forwards_of_a_try(std::int64_t batch) const;
  /// Sequences of the batch that the next try is made on; 0: on gate sequences.
  std::int64_t batch_of_a_try() const {
    return options_.gate == GateSource::kNextBatch ? batch_size_ : 0;
  }
  /// Forwards to value a winner and to land on it.
  std::int64_t forwards_of_worth() const;
  /// Forwards to know so many losses of a point, on a batch of so many sequences or, with 0, on gate
  /// sequences.
  std::int64_t forwards_to_know(std::int64_t known, std::int64_t count, std::int64_t batch) const;
  /// Forwards to make the statistics of batch norm anew, where they are. Every rank runs them all.
  std::int64_t recomputing_forwards() const {
    const bool recomputes = options_.batch_norm == BatchNormPolicy::kRecompute;
    return recomputes ? options_.verification.sequences * replicas_.size() : 0;
  }
  /// Of a training step, on all ranks.
  double step_cost() const { return evaluator_.step_cost() * replicas_.size(); }
  /// Forwards of all ranks to evaluate so many sequences.
  std::int64_t forwards_of(std::int64_t sequences) const {
    return replicas_.forwards(evaluator_, sequences);
  }
  /// Sequences that a comparison begins with.
  std::int64_t first_helping() const {
    return std::max(options_.verification.sequences, verifier_.pairs_needed());
  }
  /// Forwards to judge one more candidate at the least, from placing it on.
  std::int64_t judging_forwards(std::int64_t batch) const;
  /// Whether the cap leaves so many forwards and what a winner's value takes.
  bool affords(std::int64_t forwards) const {
    return controller_.affords(situation(), forwards + forwards_of_worth());
  }
  /// Newest snapshots whose moves are measured at an observation: for the path and the regime.
  std::int64_t snapshots_walked() const;
  bool activations_tell() const {
    return options_.detector.signal == SignalKind::kActivationCosine;
  }
  /// Books a pending try that cannot be made, and says why.
  void give_up_pending(const std::string& reason);
  void observe(bool has_batch);
  void record_snapshots();
  /// Mean learning rate of the steps since it was asked last.
  double take_rate();
  /// Adds the newest move to the path, where moves are measured. Returns the cosine of the last two
  /// where they tell the regime and three snapshots are known. Synchronises.
  std::optional<double> walk();
  /// Scores the probes; with their activations where these tell the regime.
  Evaluation score_probes(ObservationEvent& event);
  /// Mean cosine of the probes' activations to those of the last observation, if there are any, which
  /// they then replace.
  std::optional<double> activation_cosine(const at::Tensor& given);
  double cosine_to_last(const at::Tensor& activations) const;
  Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool activations);
  std::vector<double> losses_of(const std::vector<std::int64_t>& sequences);
  std::vector<std::int64_t> next_gate_sequences(std::int64_t count);
  /// How often the gate sequences that are not probes were gone through; 0 where they are fixed.
  double gate_passes() const;
  /// Losses of a training forward pass on the batch that leaves no trace.
  std::vector<double> batch_losses(const TrainingBatch& batch);
  /// Losses on gate sequences after `settle_steps` of training from the point, at the weights or
  /// their average. Everything is put back.
  std::vector<double> losses_after_training(const Point& point,
                                            const std::vector<std::int64_t>& sequences,
                                            bool at_average, Comparison& comparison);
  /// What those steps cost.
  std::int64_t rehearsal_forwards() const;
  /// Moves the weights to a candidate, and their average along.
  void move_to(const Point& point, LeapTransaction& transaction);
  /// Batch norm's statistics for weights just written, where they are to change.
  void write_batch_norm(const policy::Prediction& prediction);
  void recompute_batch_norm();
  bool moves_batch_norm() const {
    return options_.enabled && options_.batch_norm != BatchNormPolicy::kKeep;
  }
  bool looks() const { return iterates_ && options_.rate.looks > 0; }
  /// Where the weights are kept while others stand in for them. With a free rate nothing is between the
  /// looks, and `own` becomes it.
  const TensorList& backup(TensorList& own) const;
  /// Whether points that are compared differ in the buffers too.
  bool moves_buffers() const { return moves_batch_norm() || looks(); }
  bool races() const { return options_.verification.when == policy::When::kRaced; }
  /// Where predictions start: the weights, or their average.
  const TensorList& origin() const { return average_ ? average_->tensors() : weights_; }
  Point reference_point() const;
  std::int64_t write(const policy::Prediction& prediction, LeapTransaction& transaction);
  /// Sums of the weights that lie here, over all shards.
  std::vector<double> over_shards(std::vector<double> sums) const;
  /// snapshots_->gram(), over all shards. Synchronises.
  std::vector<double> gram(std::int64_t count) const;
  /// distance(), over all shards. Synchronises.
  double whole_distance(const TensorList& a, const TensorList* b) const;
  /// A number of weights, over all shards.
  std::int64_t whole_count(std::int64_t here) const;
  /// The longest leap that the trust region allows. Synchronises where it is bounded.
  double longest_leap() const;
  bool looked_back(Point& reference, Comparison& comparison);
  /// With a free rate: holds the average of now against the best so far.
  void look_at_run();
  void look_with(LeapTransaction& transaction, LookEvent& event);
  policy::Decision judge_look(Point& now, Point& best, Comparison& comparison);
  /// Keeps the average of now, goes on at half of the rate, or goes back.
  void follow_look(LookEvent& event, LeapTransaction& transaction);
  /// Makes the average that was kept that of now, and the weights.
  void go_back(bool has_diverged, LeapTransaction& transaction);
  /// Halves a free rate, as of a run that was not shown to have got better, unless it is on its way up to
  /// the stride; returns whether it did.
  bool slow_down();
  /// Keeps the average of now for the looks to come.
  void keep_average();
  /// Whether an average is kept to go back to: for looks, or where a free run may begin anew.
  bool keeps_average() const { return looks() || (path_sample_ && rate_.feels_slope()); }
  void make_room_for_average();
  /// Lets go of it where nothing goes back to it any more.
  void release_average();
  /// The product of the gradients and the way of the matrices from the start. Synchronises.
  double slope_of_way();
  /// With a free rate: back to what is kept, where the first steps at the stride went too far.
  void begin_anew();
  /// How often a free run is looked at: rate.looks, or as often as the cap pays for usual looks, and once
  /// where it pays for a single helping.
  std::int64_t looks_of_run() const;
  /// Looks mostly take three helpings of sequences, where the averages are not much alike.
  std::int64_t forwards_of_usual_look() const {
    return forwards_of_look(std::min(3 * first_helping(), verifier_.max_pairs()));
  }
  bool look_is_due() const;
  /// How many looks, of all that a run has, are at this step or before: the k-th of m is where (k ÷ m)² of the
  /// run is done. Early on most can go wrong, and least is lost.
  std::int64_t looks_until(std::int64_t step) const;
  /// That the last of the planned steps is.
  std::int64_t last_step() const {
    return std::max<std::int64_t>(1, options_.planned_steps - stood_still_);
  }
  std::int64_t forwards_of_look(std::int64_t sequences) const {
    return 2 * forwards_to_know(0, sequences, /*batch=*/0);
  }
  std::int64_t forwards_of_canary() const { return 3 * forwards_of(canary_sequences()); }
  /// Factor on the learning rate that is in force: 1 where the options do not let it move.
  double rate_scale() const { return in_force(rate_); }
  double in_force(const policy::RateScale& rate) const;
  /// Of the planned steps, when so many are done; 1 where none are planned.
  double share_left(std::int64_t done) const;
  /// After a candidate that verified; in mode shadow the rate stays. Returns whether it rose by its
  /// whole growth or its stride, not only up to its largest.
  bool raise_rate(const Point& winner);
  /// After a look back that verified.
  void lower_rate();
  /// At a free rate: how far the weights of now are on their way from the iterate to the average.
  double pull_to_average() const;
  /// Whether the rate is lowered where the weights go far.
  bool bounds_stride() const;
  void find_matrices();
  /// The norm that the matrices would have as torch draws them, uniformly within ±1 ÷ √(inputs). Synchronises.
  double drawn_norm() const;
  /// How far the matrices are from their running average, relative to their norm; with a free rate, where
  /// they begin at 0, to that as drawn, else to at most that: long training makes them outgrow it, and no
  /// longer steps right. Synchronises.
  double stride();
  /// Tells the rate what the schedule says of this step.
  void follow_rates();
  std::int64_t waypoint_every() const {
    return policy::RateOptions::free_waypoint_every(options_.planned_steps);
  }
  /// Tells a free rate how far the matrices have gone. Synchronises.
  void take_waypoint();
  /// Lowers the rate where the matrices are too far from their average. Synchronises.
  void limit_stride();
  /// Traces the factor in force where it is another than the last that was traced.
  void trace_rate(const char* reason);
  /// Writes the point into the weights; returns the number of weights that are not finite.
  std::int64_t place(const Point& point, Comparison& comparison);
  void place_given(const TensorList& weights, Comparison& comparison);
  /// Writes a candidate into the weights and measures it.
  Placement measure(const Point& point, Comparison& comparison);
  /// Places a point that is to be judged, where it was not, and begins its event.
  CandidateEvent place_candidate(Point& point, Comparison& comparison);
  /// How many candidates different ranks evaluate at once.
  std::int64_t candidates_at_once(const Comparison& comparison) const;
  /// Lets different ranks place and evaluate different candidates, as far as a comparison begins.
  void know_side_by_side(std::vector<Point>& candidates, Comparison& comparison);
  /// Lets so many gate sequences at the least be those of the try.
  void draw_sequences(std::int64_t count, Comparison& comparison);
  /// Places the point and evaluates it where fewer than `count` of its losses are known.
  void know_losses(Point& point, std::int64_t count, Comparison& comparison);
  /// `reserve`: forwards that the cap is to leave.
  policy::Decision compare(Point& reference, Point& candidate, Comparison& comparison,
                           std::int64_t reserve = 0);
  /// Adds the losses that the decision was taken on, where they are to be traced.
  void add_losses(CandidateEvent& event, const Point& reference, const Point& candidate) const;
  /// Holds the loss after some more training against its forecast; `winner`: the best so far, or null.
  policy::Decision settle(Point& candidate, const Point* winner, Comparison& comparison);
  /// Runs what places other weights, after the canary, and puts back what it leaves. Returns the forwards
  /// that it took, or nothing where it failed, which is traced.
  std::optional<std::int64_t> with_weights_lent(
      const std::function<void(LeapTransaction&)>& action);
  /// Tries on gate sequences, or on the batch unless it is null.
  void try_leap(const std::vector<std::int64_t>& horizons, const TrainingBatch* batch);
  /// Within a try: up to and with the landing.
  SearchResult try_with(const std::vector<std::int64_t>& horizons, const TrainingBatch* batch,
                        LeapTransaction& transaction, LeapEvent& event);
  /// Sequences that the canary is evaluated on, three times; each rank has one.
  std::int64_t canary_sequences() const { return std::max(2, replicas_.size()); }
  /// Why the evaluator cannot be trusted with candidates; empty when it can. Leaves the weights as
  /// they were.
  std::string canary(LeapTransaction& transaction);
  SearchResult search(const std::vector<std::int64_t>& horizons, const TrainingBatch* batch,
                      LeapTransaction& transaction);
  /// Asks the predictors that are due for candidates, in order, and judges these.
  SearchResult search_ahead(const std::vector<std::int64_t>& horizons, Point& reference,
                            Comparison& comparison);
  /// Those of a predictor and horizons that the ranks evaluate at once.
  std::vector<Point> candidates_of(const policy::Predictor& predictor,
                                   const policy::History& history,
                                   const std::vector<std::int64_t>& horizons,
                                   Comparison& comparison);
  /// Judges a candidate against the best so far, and traces it.
  bool accepts(Point& candidate, const policy::Predictor& predictor, double longest,
               Point& reference, SearchResult& result, Comparison& comparison);
  std::vector<at::Tensor> predict_by(const policy::Predictor& predictor, std::int64_t horizon);
  /// Within offer().
  void judge(const Offer& offer, Answer& answer);
  /// Adds the chance that the rule accepted it though it gains nothing.
  void book_chance(const policy::Decision& decision);
  policy::Value worth(const Point& winner, LeapTransaction& transaction);
  /// Makes the winner the weights for good, and carries along what follows them.
  void land(const Point& winner, LeapTransaction& transaction);
  /// Throws RankMismatch, which names the step, where the weights are not the same on all ranks.
  void require_same_weights(const std::string& when);
  /// What fails in the action where the other ranks cannot be told ends the run.
  void not_on_one_rank_alone(const std::function<void()>& action) const;
  /// Moves schedule and data on by the steps of a leap, where they are to follow it; returns where
  /// they were.
  std::optional<TrainingPosition> move_positions(std::int64_t steps);
  /// Forgets the trajectory: what comes is no evenly spaced continuation of it.
  void begin_stretch();
  /// Forgets what was observed along it, not the snapshots.
  void forget_readings();
  void fail(const std::string& reason, std::int64_t forwards);

  std::unique_ptr<BaseOptimizer> base_;
  std::unique_ptr<TrainedModel> model_;
  Evaluator& evaluator_;
  Replicas replicas_;
  Options options_;
  TraceSink trace_;
  StepRunner* runner_;
  policy::Portfolio portfolio_;
  Detector detector_;
  policy::Controller controller_;
  policy::Verifier verifier_;
  policy::LossCurve curve_;
  policy::Forecast forecast_;
  policy::RateScale rate_;
  TensorList weights_;
  TensorList buffers_;
  TensorList saved_weights_;
  TensorList saved_buffers_;
  // Where batch norm's statistics move.
  TensorList buffer_backup_;
  TensorList statistics_;
  std::optional<SnapshotStore> statistics_snapshots_;
  // Gate sequences that statistics are recomputed on in the try that goes on.
  std::vector<std::int64_t> statistics_sequences_;
  // Of the weights; a free rate has iterates_ in its place.
  std::optional<WeightAverage> average_;
  // Of a free rate.
  std::optional<IterateAverage> iterates_;
  std::optional<PathSample> path_sample_;
  double drawn_norm_ = 0;
  double largest_norm_ = 0;
  bool begins_at_nothing_ = false;
  // Of a free rate, with rate.looks: the best average that has verified, at first the start, with the buffers
  // of then, the sum of its weights, and the step, once there was one. Without looks the start, as long as the
  // run may begin anew.
  TensorList kept_average_;
  TensorList kept_buffers_;
  double kept_total_ = 0;
  std::optional<std::int64_t> kept_step_;
  // Steps that were to move nothing, and are not counted.
  std::int64_t stood_still_ = 0;
  // Where the stride is bounded: of the weights, with a free rate of the iterate, and of average_.
  TensorList matrices_;
  // Which of the weights they are.
  std::vector<std::size_t> matrix_of_;
  // Before the last step, where it was asked for.
  std::optional<double> slope_;
  TensorList averaged_matrices_;
  std::optional<SnapshotStore> snapshots_;

  std::string settings_;
  std::string traced_settings_;
  double traced_rate_ = 1;
  double step_scale_ = 1;
  // The weights are not those of training: a try goes on, or at_average() does.
  bool weights_lent_ = false;
  std::int64_t step_ = 0;
  std::int64_t observations_ = 0;
  std::int64_t gate_cursor_ = 0;
  // To be tried on the next batch.
  std::vector<std::int64_t> pending_;
  // Sequences, on all ranks, of the last batch that was given as one.
  std::int64_t batch_size_ = 0;
  // Sum of the distances between observations, where they are measured.
  double path_ = 0;
  // Learning rates of the steps since the last observation, whose mean take_rate() gives.
  double rate_sum_ = 0;
  std::int64_t rate_steps_ = 0;
  // Probe activations of the last observation, undefined before the first and after a leap.
  at::Tensor activations_;
  std::vector<double> probe_losses_;
  int failures_in_row_ = 0;
  bool ranks_checked_ = false;
  bool canary_passed_ = false;
  std::string off_reason_;
};

}  // namespace leapverify

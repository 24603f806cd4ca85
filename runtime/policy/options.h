// Every option of the LeapVerify wrapper, with its default.
#pragma once

#include <leapverify/regimes/detector.h>
#include <leapverify/runtime/policy/controller.h>
#include <leapverify/runtime/policy/portfolio.h>
#include <leapverify/runtime/policy/predictor.h>
#include <leapverify/runtime/policy/rate_scale.h>
#include <leapverify/runtime/policy/verifier.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace leapverify {

/// leap: verified leaps are committed. shadow: tried, verified and traced, never committed.
enum class Mode { kLeap, kShadow };

/// What losses are compared on. fresh: gate sequences not asked for before, from the start again when
/// all were used, `max_gate_passes` times. fixed: always the same, as published. next_batch: the batch about to be trained on
/// (LeapVerify::step(TrainingBatch)), fresh gate sequences where none is given or it was seen before.
enum class GateSource { kFresh, kFixed, kNextBatch };

/// Where candidates are compared with what is. current: at the weights, as published. denoised: at
/// the average of the recent weights, on both sides; predictions then extrapolate that average.
/// Gradient noise lifts the loss at the weights, so a check there refuses what pays later.
enum class Reference { kCurrent, kDenoised };

/// What an accepted candidate changes: the weights, the learning rate, or both.
enum class OnAccept { kLeap, kRate, kBoth };

/// What becomes of the optimizer's moments after a committed leap. scale: multiplied by a factor,
/// step counter kept. reset: the whole state, step counter included, starts anew.
enum class MomentPolicy { kKeep, kScale, kReset };

/// Where the learning-rate schedule goes on after a committed leap of K steps. advance: K steps later.
enum class SchedulePolicy { kKeep, kAdvance };

/// What the next steps train on after a committed leap of K steps. skip: what comes K steps later.
enum class DataPolicy { kKeep, kSkip };

/// Statistics of batch norm at a candidate and after a committed leap. keep: those of training.
/// extrapolate: predicted with the weights' coefficients, variances at least 0. recompute: the mean
/// over a pass of gate sequences at the new weights.
enum class BatchNormPolicy { kKeep, kExtrapolate, kRecompute };

/// How snapshots of the weights are kept, in bytes per parameter and snapshot. float32: 4 on the
/// weights' device. bfloat16_deltas: 4 for the newest and 2 for each older one, as the difference to
/// the next newer; a leap then differs from the exact one by at most 2^-8 of the moves that it is
/// made of. host: the dtype of what is kept, the weights or their average, in pinned memory of the host, 0 on the device; copied while
/// training goes on.
enum class SnapshotFormat { kFloat32, kBFloat16Deltas, kHost };

template <>
struct EnumNames<SnapshotFormat> {
  static constexpr Named<SnapshotFormat> names[] = {
      {SnapshotFormat::kFloat32, "float32"},
      {SnapshotFormat::kBFloat16Deltas, "bfloat16_deltas"},
      {SnapshotFormat::kHost, "host"}};
};
template <>
struct EnumNames<Mode> {
  static constexpr Named<Mode> names[] = {{Mode::kLeap, "leap"}, {Mode::kShadow, "shadow"}};
};
template <>
struct EnumNames<Reference> {
  static constexpr Named<Reference> names[] = {{Reference::kCurrent, "current"},
                                               {Reference::kDenoised, "denoised"}};
};
template <>
struct EnumNames<OnAccept> {
  static constexpr Named<OnAccept> names[] = {
      {OnAccept::kLeap, "leap"}, {OnAccept::kRate, "rate"}, {OnAccept::kBoth, "both"}};
};
template <>
struct EnumNames<GateSource> {
  static constexpr Named<GateSource> names[] = {{GateSource::kFresh, "fresh"},
                                                {GateSource::kFixed, "fixed"},
                                                {GateSource::kNextBatch, "next_batch"}};
};
template <>
struct EnumNames<SchedulePolicy> {
  static constexpr Named<SchedulePolicy> names[] = {{SchedulePolicy::kKeep, "keep"},
                                                    {SchedulePolicy::kAdvance, "advance"}};
};
template <>
struct EnumNames<DataPolicy> {
  static constexpr Named<DataPolicy> names[] = {{DataPolicy::kKeep, "keep"},
                                                {DataPolicy::kSkip, "skip"}};
};
template <>
struct EnumNames<BatchNormPolicy> {
  static constexpr Named<BatchNormPolicy> names[] = {{BatchNormPolicy::kKeep, "keep"},
                                                     {BatchNormPolicy::kExtrapolate, "extrapolate"},
                                                     {BatchNormPolicy::kRecompute, "recompute"}};
};
template <>
struct EnumNames<MomentPolicy> {
  static constexpr Named<MomentPolicy> names[] = {{MomentPolicy::kKeep, "keep"},
                                                  {MomentPolicy::kScale, "scale"},
                                                  {MomentPolicy::kReset, "reset"}};
};

/// Options to start from. auto: no learning rate and no schedule to choose; the run is another
/// than the bare one from the first step, and is looked at on held-out loss (`rate.free`, `rate.looks`).
/// verified: nothing changes that has not verified, the defaults below. free: `rate.free` alone, which
/// needs no held-out loss. paper: the published method with the published constants (arXiv
/// 2602.19580): fixed thresholds, one fixed held-out batch, no cap on the overhead, Adam's moments
/// zeroed after a leap while their step counter stays.
enum class OptionsPreset { kAuto, kVerified, kFree, kPaper };

template <>
struct EnumNames<OptionsPreset> {
  static constexpr Named<OptionsPreset> names[] = {{OptionsPreset::kAuto, "auto"},
                                                   {OptionsPreset::kVerified, "verified"},
                                                   {OptionsPreset::kFree, "free"},
                                                   {OptionsPreset::kPaper, "paper"}};
};

/// The defaults take a learning rate that is too small up to where the run profits, and leave one
/// that is right as it is: candidates at the denoised weights are probes for the rate.
struct Options {
  bool enabled = true;
  Mode mode = Mode::kLeap;
  std::int64_t planned_steps = 0;
  std::int64_t observe_every = 10;
  std::int64_t probes = 0;
  policy::PredictorOptions predictor;
  DetectorOptions detector;
  policy::ControllerOptions controller;
  policy::VerifierOptions verification;
  Reference reference = Reference::kDenoised;
  double denoise_decay = 0.9;
  double trust_path = 0.5;
  double trust_norm = 0.1;
  OnAccept on_accept = OnAccept::kRate;
  policy::RateOptions rate;
  SnapshotFormat snapshots = SnapshotFormat::kFloat32;
  GateSource gate = GateSource::kFresh;
  std::int64_t max_gate_passes = 10;
  MomentPolicy moments = MomentPolicy::kKeep;
  double moment_scale = 1;
  SchedulePolicy schedule = SchedulePolicy::kKeep;
  DataPolicy data = DataPolicy::kKeep;
  BatchNormPolicy batch_norm = BatchNormPolicy::kKeep;
  bool trace_losses = false;

  static Options of(OptionsPreset preset);
  static Options automatic();
  static Options free_rate();
  static Options paper();

  /// `controller` with the horizons that a try goes through: those given or, where none are, half of
  /// observe_every and its doublings; only the first and the far one where the rate is all that moves.
  policy::ControllerOptions resolved_controller() const;

  bool adapts_rate() const { return on_accept != OnAccept::kLeap; }
  bool leaps() const { return on_accept != OnAccept::kRate; }
  /// A candidate so far ahead, two moves between snapshots from the average that is about one behind,
  /// lies beyond the weights of now, and raises the learning rate more.
  std::int64_t far_horizon() const { return 2 * observe_every; }
  /// Whether a leap is bounded; probes for the rate are not.
  bool has_trust_region() const;
  /// `verification` for one predictor: those of a portfolio share alpha.
  policy::VerifierOptions verification_of_one() const;
  /// Whether steps of training are run that a StepRunner must be given for.
  bool rehearses() const { return verification.when != policy::When::kImmediate; }
  bool needs_step_runner() const {
    return rehearses() || schedule == SchedulePolicy::kAdvance || data == DataPolicy::kSkip;
  }

  /// Why a run of planned_steps ends before a first try can be made; empty where one can, or none is
  /// to be (`rate.free`).
  std::string no_try_reason() const;

  /// Throws InvalidOption for the first option that is not legal by itself or beside the others.
  void validate() const;

  void describe(FieldVisitor& visitor);
};

}  // namespace leapverify

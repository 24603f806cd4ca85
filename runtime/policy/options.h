// Every option of the LeapVerify wrapper, with its default.
#pragma once

#include <leapverify/regimes/detector.h>
#include <leapverify/runtime/policy/controller.h>
#include <leapverify/runtime/policy/predictor.h>
#include <leapverify/runtime/policy/verifier.h>

#include <cstdint>

namespace leapverify {

/// leap: verified leaps are committed. shadow: tried, verified and traced, never committed.
enum class Mode { kLeap, kShadow };

/// fresh: sequences not asked for before, from the start again when all were used.
/// fixed: always the same, as published.
enum class GateSource { kFresh, kFixed };

/// What becomes of the optimizer's moments after a committed leap. scale: multiplied by a factor,
/// step counter kept. reset: the whole state, step counter included, starts anew.
enum class MomentPolicy { kKeep, kScale, kReset };

template <>
struct EnumNames<Mode> {
  static constexpr Named<Mode> names[] = {{Mode::kLeap, "leap"}, {Mode::kShadow, "shadow"}};
};
template <>
struct EnumNames<GateSource> {
  static constexpr Named<GateSource> names[] = {{GateSource::kFresh, "fresh"},
                                                {GateSource::kFixed, "fixed"}};
};
template <>
struct EnumNames<MomentPolicy> {
  static constexpr Named<MomentPolicy> names[] = {{MomentPolicy::kKeep, "keep"},
                                                  {MomentPolicy::kScale, "scale"},
                                                  {MomentPolicy::kReset, "reset"}};
};

struct Options {
  bool enabled = true;
  Mode mode = Mode::kLeap;
  std::int64_t planned_steps = 0;
  std::int64_t observe_every = 25;
  std::int64_t probes = 8;
  policy::PredictorKind predictor = policy::PredictorKind::kLinear;
  DetectorOptions detector;
  policy::ControllerOptions controller;
  policy::VerifierOptions verification;
  GateSource gate = GateSource::kFresh;
  MomentPolicy moments = MomentPolicy::kKeep;
  double moment_scale = 1;

  /// The published method with the published constants (arXiv 2602.19580): fixed thresholds, one
  /// fixed held-out batch, no cap on the overhead, Adam's moments zeroed after a leap while their
  /// step counter stays.
  static Options paper();

  /// Throws InvalidOption for the first option that is not legal by itself or beside the others.
  void validate() const;

  void describe(FieldVisitor& visitor);
};

}  // namespace leapverify

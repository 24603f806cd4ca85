// When what a speculative worker has trained may be looked at.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>

namespace leapverify {

/// What a worker trains. ahead: the K steps after those that the run walks meanwhile; accepted, the run
/// has gained K steps. race: the same K steps from a leap of K; accepted, it goes on from the other branch.
enum class SpeculationKind { kAhead, kRace };

template <>
struct EnumNames<SpeculationKind> {
  static constexpr Named<SpeculationKind> names[] = {{SpeculationKind::kAhead, "ahead"},
                                                     {SpeculationKind::kRace, "race"}};
};

/// What the distance on arrival is held against. way: what was walked meanwhile, ‖θ_{t+K} − θ_t‖. norm:
/// ‖θ_{t+K}‖, as published, within 5 % of which nearly everything is.
enum class DistanceScale { kWay, kNorm };

template <>
struct EnumNames<DistanceScale> {
  static constexpr Named<DistanceScale> names[] = {{DistanceScale::kWay, "way"},
                                                   {DistanceScale::kNorm, "norm"}};
};

namespace policy {

struct SpeculationOptions {
  /// K; 0: none.
  std::int64_t steps = 0;
  SpeculationKind kind = SpeculationKind::kAhead;
  double max_distance = 0.5;
  DistanceScale relative_to = DistanceScale::kWay;
  double timeout_seconds = 60;

  /// Steps that the run has gained where a result is accepted.
  std::int64_t gain() const { return kind == SpeculationKind::kAhead ? steps : 0; }

  void describe(FieldVisitor& visitor);
};

/// Norms over all weights, on arrival.
struct Arrival {
  /// ‖θ_{t+K} − θ̂_{t+K}‖: from where the worker began.
  double distance = 0;
  double way = 0;
  double norm = 0;
};

/// distance ÷ way, or ÷ norm; infinite where that is 0.
double relative_distance(const Arrival& arrival, DistanceScale scale);

}  // namespace policy
}  // namespace leapverify

// The three regimes of a training run.
#pragma once

#include <leapverify/regimes/field.h>

namespace leapverify {

/// Ordered by how well predictions tend to hold.
enum class Regime { kChaotic, kTransition, kStable };

template <>
struct EnumNames<Regime> {
  static constexpr Named<Regime> names[] = {{Regime::kChaotic, "chaotic"},
                                            {Regime::kTransition, "transition"},
                                            {Regime::kStable, "stable"}};
};

}  // namespace leapverify

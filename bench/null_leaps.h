// Leaps whose true mean gain is known, to measure how often a rule is wrong about them.
#pragma once

#include <leapverify/runtime/policy/verifier.h>

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace leapverify::bench {

/// One held-out sequence, in nats.
struct Pair {
  double reference_loss = 0;
  /// Loss at the reference − loss at the candidate.
  double gain = 0;
};

/// What a run measured of one candidate.
struct Pool {
  std::int64_t step = 0;
  std::int64_t horizon = 0;
  std::vector<Pair> pairs;
};

/// The candidates of a trace that was written with `trace_losses`; lines of other kinds are
/// skipped. Throws std::runtime_error with the path where there is no such candidate.
std::vector<Pool> read_pools(const std::string& path);

/// Pairs whose gains have mean 0.
struct Population {
  std::function<Pair(std::mt19937_64&)> draw;
  /// Standard deviation of the gains.
  double deviation = 0;
};

/// Leaps without any true gain, in equal parts from each population.
struct Null {
  std::string name;
  std::vector<Population> populations;
};

/// "real": drawn with replacement from each pool, its mean gain taken off.
Null real_null(const std::vector<Pool>& pools);

/// gaussian, student_t3, skewed_up and skewed_down: gains 0.01 · X of a reference loss 5 + N(0, 1),
/// X of mean 0 and variance 1: N(0, 1); Student's t with 3 degrees of freedom; ± (Exp(1) − 1).
std::vector<Null> synthetic_nulls();

/// As those, X = −√19 with a chance of 1 in 20, else 1/√19: a rare great loss among small gains,
/// which a pilot mostly misses.
Null rare_losses();

/// How a rule judged leaps of one kind.
struct Outcome {
  std::int64_t leaps = 0;
  std::int64_t accepted = 0;
  /// Decided before the last sequence that the rule could have asked for.
  std::int64_t decided_early = 0;
  double mean_pairs = 0;

  double rate() const { return static_cast<double>(accepted) / static_cast<double>(leaps); }
  /// One-sided 95 % Clopper-Pearson bound.
  double upper_bound() const;
};

/// Verifies `leaps` null leaps, each gain `effect` deviations better than drawn. Pairs come as a
/// try draws them, `sequences` at a time; a rule with a memory remembers the leaps of its
/// population.
Outcome verify(const policy::VerifierOptions& options, const Null& null, double effect,
               std::int64_t leaps, std::uint64_t seed);

}  // namespace leapverify::bench

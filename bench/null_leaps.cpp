#include "null_leaps.h"

#include <leapverify/runtime/policy/statistics.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

namespace leapverify::bench {
namespace {

using Draw = std::function<double(std::mt19937_64&)>;

Null synthetic(std::string name, const Draw& standardized) {
  constexpr double kDeviation = 0.01;
  const auto draw = [standardized](std::mt19937_64& random) {
    const double reference = 5 + std::normal_distribution<double>()(random);
    return Pair{reference, kDeviation * standardized(random)};
  };
  return {std::move(name), {{draw, kDeviation}}};
}

Population resampled(const Pool& pool) {
  std::vector<double> gains;
  for (const Pair& pair : pool.pairs) gains.push_back(pair.gain);
  const policy::Sample sample = policy::summarize(gains);
  std::vector<Pair> centred = pool.pairs;
  for (Pair& pair : centred) pair.gain -= sample.mean;
  const auto draw = [pairs = std::move(centred)](std::mt19937_64& random) {
    return pairs[std::uniform_int_distribution<std::size_t>(0, pairs.size() - 1)(random)];
  };
  return {draw, std::sqrt(sample.variance)};
}

/// Draws and judges one leap as a try does.
policy::Decision judge(const policy::Verifier& verifier, const policy::VerifierOptions& options,
                       const Population& population, double mean_gain, std::mt19937_64& random) {
  std::vector<double> reference, candidate;
  std::int64_t count = std::max(options.sequences, verifier.pairs_needed());
  while (true) {
    count = std::min(count, verifier.max_pairs());
    while (static_cast<std::int64_t>(reference.size()) < count) {
      const Pair pair = population.draw(random);
      reference.push_back(pair.reference_loss);
      candidate.push_back(pair.reference_loss - mean_gain - pair.gain);
    }
    policy::Decision decision = verifier.decide(reference, candidate);
    if (decision.verdict != policy::Verdict::kUndecided) return decision;
    count += options.sequences;
  }
}

}  // namespace

std::vector<Pool> read_pools(const std::string& path) {
  std::ifstream file(path);
  std::vector<Pool> pools;
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json event = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!event.is_object() || !event.contains("reference_losses")) continue;
    const auto reference = event.at("reference_losses").get<std::vector<double>>();
    const auto candidate = event.at("candidate_losses").get<std::vector<double>>();
    Pool pool{event.at("step"), event.at("horizon"), {}};
    for (std::size_t i = 0; i < reference.size(); ++i) {
      pool.pairs.push_back({reference[i], reference[i] - candidate.at(i)});
    }
    pools.push_back(std::move(pool));
  }
  if (pools.empty()) {
    throw std::runtime_error(path +
                             ": no candidate with losses; expected the trace of a run with "
                             "leapverify.trace_losses=true");
  }
  return pools;
}

Null real_null(const std::vector<Pool>& pools) {
  Null null{"real", {}};
  for (const Pool& pool : pools) null.populations.push_back(resampled(pool));
  return null;
}

std::vector<Null> synthetic_nulls() {
  const Draw normal = [](auto& random) { return std::normal_distribution<double>()(random); };
  const Draw student = [](auto& random) {
    return std::student_t_distribution<double>(3)(random) / std::sqrt(3.0);
  };
  const Draw exponential = [](auto& random) {
    return std::exponential_distribution<double>()(random) - 1;
  };
  return {synthetic("gaussian", normal), synthetic("student_t3", student),
          synthetic("skewed_up", exponential),
          synthetic("skewed_down", [exponential](auto& random) { return -exponential(random); })};
}

Null rare_losses() {
  return synthetic("rare_losses", [](auto& random) {
    return std::bernoulli_distribution(0.05)(random) ? -std::sqrt(19.0) : 1 / std::sqrt(19.0);
  });
}

double Outcome::upper_bound() const { return policy::clopper_pearson_upper(accepted, leaps, 0.95); }

Outcome verify(const policy::VerifierOptions& options, const Null& null, double effect,
               std::int64_t leaps, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Outcome outcome;
  std::int64_t pairs = 0;
  const auto populations = static_cast<std::int64_t>(null.populations.size());
  for (std::int64_t p = 0; p < populations; ++p) {
    const Population& population = null.populations[static_cast<std::size_t>(p)];
    policy::Verifier verifier(options);
    const std::int64_t here = leaps * (p + 1) / populations - leaps * p / populations;
    for (std::int64_t leap = 0; leap < here; ++leap) {
      const policy::Decision decision =
          judge(verifier, options, population, effect * population.deviation, random);
      verifier.remember(decision.reference_loss);
      pairs += decision.pairs;
      ++outcome.leaps;
      outcome.accepted += decision.verdict == policy::Verdict::kAccepted ? 1 : 0;
      outcome.decided_early += decision.pairs < verifier.max_pairs() ? 1 : 0;
    }
  }
  outcome.mean_pairs = static_cast<double>(pairs) / static_cast<double>(leaps);
  return outcome;
}

}  // namespace leapverify::bench

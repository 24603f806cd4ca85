// How often each rule accepts a leap that gains nothing, and how often one that gains: on loss
// differences of a real run, resampled about mean 0, and on synthetic ones.
// Usage: bench_calibration LEAPS SEED TRACE..., with LEAPS leaps a row and at least one for each
// candidate in the traces of runs with leapverify.trace_losses=true. Prints one JSON object for
// each candidate, one for how often each kind of sequential accepts null leaps resampled from it
// alone, and one for each rule, kind of leap and effect.
#include <leapverify/runtime/policy/statistics.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <nlohmann/json.hpp>

#include "null_leaps.h"

namespace {

using namespace leapverify;
using nlohmann::ordered_json;

// True mean gains, in standard deviations of the gains.
constexpr double kEffects[] = {0, 0.1, 0.2, 0.3, 0.5, 0.75, 1};

/// The defaults, but that gains are compared with 0: a margin only makes false accepts rarer.
policy::VerifierOptions options_for(policy::Rule rule) {
  policy::VerifierOptions options;
  options.rule = rule;
  options.margin = 0;
  return options;
}

/// By default at most 128 sequences with a pilot of 8.
std::vector<policy::VerifierOptions> sequential_rules(double alpha) {
  std::vector<policy::VerifierOptions> all;
  for (const std::int64_t max_sequences : {128, 512}) {
    for (const std::int64_t pilot : {8, 32}) {
      policy::VerifierOptions options = options_for(policy::Rule::kSequential);
      options.alpha = alpha;
      options.max_sequences = max_sequences;
      options.pilot = pilot;
      all.push_back(options);
    }
  }
  return all;
}

std::vector<policy::VerifierOptions> rules() {
  std::vector<policy::VerifierOptions> all = {options_for(policy::Rule::kStrict),
                                              options_for(policy::Rule::kAdaptive),
                                              options_for(policy::Rule::kProximity)};
  for (const double alpha : {0.05, 0.01}) {
    for (const policy::VerifierOptions& options : sequential_rules(alpha)) all.push_back(options);
  }
  return all;
}

/// The name of a rule, and what of its options varies here.
ordered_json json_of(const policy::VerifierOptions& options) {
  ordered_json out = {{"rule", name_of(options.rule)}};
  if (options.rule == policy::Rule::kSequential) {
    out["alpha"] = options.alpha;
    out["max_sequences"] = options.max_sequences;
    out["pilot"] = options.pilot;
  }
  return out;
}

ordered_json json_of(const bench::Outcome& outcome) {
  return {{"leaps", outcome.leaps},           {"accepted", outcome.accepted},
          {"rate", outcome.rate()},           {"upper_95", outcome.upper_bound()},
          {"mean_pairs", outcome.mean_pairs}, {"decided_early", outcome.decided_early}};
}

/// The shape of a candidate's gains about their mean.
ordered_json shape(const bench::Pool& pool) {
  std::vector<double> gains;
  for (const bench::Pair& pair : pool.pairs) gains.push_back(pair.gain);
  const policy::Sample sample = policy::summarize(gains);
  const double deviation = std::sqrt(sample.variance);
  std::vector<double> cubes, fourths, clipped;
  for (const double gain : gains) {
    const double standardized = (gain - sample.mean) / deviation;
    cubes.push_back(std::pow(standardized, 3));
    fourths.push_back(std::pow(standardized, 4));
    clipped.push_back(std::clamp(standardized, -4.0, 4.0));
  }
  return {{"pairs", sample.count},
          {"mean_gain", sample.mean},
          {"deviation", deviation},
          {"skewness", policy::summarize(cubes).mean},
          {"kurtosis", policy::summarize(fourths).mean},
          {"mean_clipped_at_4_deviations", policy::summarize(clipped).mean}};
}

void measure(std::int64_t leaps, std::uint64_t seed, const std::vector<bench::Pool>& pools) {
  for (std::size_t i = 0; i < pools.size(); ++i) {
    const bench::Pool& pool = pools[i];
    ordered_json head = {{"candidate", i + 1}, {"step", pool.step}, {"horizon", pool.horizon}};
    ordered_json line = head;
    line.update(shape(pool));
    std::printf("%s\n", line.dump().c_str());
    const bench::Null null = bench::real_null({pool});
    for (const policy::VerifierOptions& options : sequential_rules(0.05)) {
      ordered_json out = head;
      out.update(json_of(options));
      out.update(json_of(bench::verify(options, null, 0, leaps, seed)));
      std::printf("%s\n", out.dump().c_str());
    }
  }
  std::vector<bench::Null> nulls = {bench::real_null(pools)};
  for (bench::Null& null : bench::synthetic_nulls()) nulls.push_back(std::move(null));
  nulls.push_back(bench::rare_losses());
  for (const policy::VerifierOptions& options : rules()) {
    for (const bench::Null& null : nulls) {
      for (const double effect : kEffects) {
        ordered_json out = json_of(options);
        out["null"] = null.name;
        out["effect"] = effect;
        out.update(json_of(bench::verify(options, null, effect, leaps, seed)));
        std::printf("%s\n", out.dump().c_str());
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    std::vector<bench::Pool> pools;
    for (int i = 3; i < argc; ++i) {
      for (bench::Pool& pool : bench::read_pools(argv[i])) pools.push_back(std::move(pool));
    }
    const long long leaps = argc > 1 ? std::atoll(argv[1]) : 0;
    if (pools.empty() || leaps < static_cast<long long>(pools.size())) {
      std::fprintf(stderr,
                   "usage: bench_calibration LEAPS SEED TRACE..., LEAPS at least 1 for each of the "
                   "%zu candidates\n",
                   pools.size());
      return 1;
    }
    measure(leaps, std::strtoull(argv[2], nullptr, 10), pools);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_calibration: %s\n", error.what());
    return 1;
  }
  return 0;
}

// What each rule says of each candidate of a run that traced the losses of single sequences and
// changed nothing (mode shadow).
// Usage: bench_ksweep_verdicts SEQUENCES TRACE. The published rules and `sequential` judge on the
// first SEQUENCES sequences, `sequential_all` on as many as there are. Prints one JSON object for
// each candidate.
#include <leapverify/runtime/policy/statistics.h>
#include <leapverify/runtime/policy/verifier.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace leapverify;
using nlohmann::json;
using nlohmann::ordered_json;
using Losses = std::vector<double>;

/// The defaults, but that gains are compared with 0, as the published rules do.
policy::Verifier verifier_of(policy::Rule rule, std::int64_t sequences, double tolerance) {
  policy::VerifierOptions options;
  options.rule = rule;
  options.margin = 0;
  options.sequences = sequences;
  options.max_sequences = sequences;
  options.proximity_tolerance = tolerance;
  return policy::Verifier(options);
}

/// Numbers that are not finite are strings in a trace.
Losses losses_from(const json& array) {
  Losses losses;
  for (const json& item : array) {
    losses.push_back(item.is_string() ? std::strtod(item.get<std::string>().c_str(), nullptr)
                                      : item.get<double>());
  }
  return losses;
}

class Judge {
 public:
  explicit Judge(std::int64_t sequences)
      : sequences_(sequences), adaptive_(verifier_of(policy::Rule::kAdaptive, sequences, 1)) {}

  ordered_json judge(const json& candidate) {
    ordered_json out = {{"step", candidate.at("step")}};
    if (candidate.contains("predictor")) out["predictor"] = candidate.at("predictor");
    out["horizon"] = candidate.at("horizon");
    if (candidate.contains("reference_losses")) {
      const Losses reference = losses_from(candidate.at("reference_losses"));
      const Losses losses = losses_from(candidate.at("candidate_losses"));
      begin_try(candidate.at("step"), reference);
      add_verdicts(reference, losses, out);
    } else {
      out["accepted"] = json::array();
    }
    return out;
  }

 private:
  Losses published(const Losses& losses) const {
    return {losses.begin(), losses.begin() + sequences_};
  }

  void begin_try(std::int64_t step, const Losses& reference) {
    if (static_cast<std::int64_t>(reference.size()) < sequences_) {
      throw std::runtime_error("step " + std::to_string(step) + ": losses of " +
                               std::to_string(reference.size()) + " sequences, expected at least " +
                               std::to_string(sequences_));
    }
    if (step == step_) {
      if (reference != reference_) {
        throw std::runtime_error("step " + std::to_string(step) +
                                 ": candidates that are compared with different losses; expected "
                                 "the trace of a run with the rule proximity in mode shadow");
      }
      return;
    }
    // The spread that `adaptive` allows is that of earlier tries.
    if (step_) adaptive_.remember(policy::summarize(published(reference_)).mean);
    step_ = step;
    reference_ = reference;
  }

  void add_verdicts(const Losses& all_reference, const Losses& all_losses,
                    ordered_json& out) const {
    const Losses reference = published(all_reference);
    const Losses losses = published(all_losses);
    const auto accepts = [&](policy::Rule rule, double tolerance) {
      return is_accepted(verifier_of(rule, sequences_, tolerance).decide(reference, losses));
    };
    const bool strict = accepts(policy::Rule::kStrict, 1);
    json accepted = json::array();
    if (strict) accepted.push_back("strict");
    if (is_accepted(adaptive_.decide(reference, losses))) accepted.push_back("adaptive");
    if (accepts(policy::Rule::kProximity, 0.05)) accepted.push_back("proximity");
    // One-sided, as in the paper's public code: a loss that falls is near enough.
    if (strict || accepts(policy::Rule::kProximity, 0.005)) accepted.push_back("proximity_code");
    if (accepts(policy::Rule::kSequential, 1)) accepted.push_back("sequential");
    const auto all = static_cast<std::int64_t>(all_reference.size());
    const policy::Decision last =
        verifier_of(policy::Rule::kSequential, all, 1).decide(all_reference, all_losses);
    if (is_accepted(last)) accepted.push_back("sequential_all");
    const policy::Sample reference_sample = policy::summarize(reference);
    out["reference_loss"] = reference_sample.mean;
    out["candidate_loss"] = policy::summarize(losses).mean;
    out["gain"] = policy::summarize_differences(all_reference, all_losses).mean;
    out["accepted"] = accepted;
  }

  static bool is_accepted(const policy::Decision& decision) {
    return decision.verdict == policy::Verdict::kAccepted;
  }

  std::int64_t sequences_;
  policy::Verifier adaptive_;
  std::optional<std::int64_t> step_;
  Losses reference_;
};

void print_verdicts(std::int64_t sequences, const std::string& path) {
  Judge judge(sequences);
  std::ifstream file(path);
  bool any = false;
  for (std::string line; std::getline(file, line);) {
    const json event = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!event.is_object() || event.value("event", "") != "candidate") continue;
    any = true;
    std::printf("%s\n", judge.judge(event).dump().c_str());
  }
  if (!any) {
    throw std::runtime_error(path + ": no candidate; expected the trace of a run with " +
                             "leapverify.trace_losses=true");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const long long sequences = argc == 3 ? std::atoll(argv[1]) : 0;
  if (sequences < 1) {
    std::fprintf(stderr, "usage: bench_ksweep_verdicts SEQUENCES TRACE, SEQUENCES at least 1\n");
    return 1;
  }
  try {
    print_verdicts(sequences, argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_ksweep_verdicts: %s\n", error.what());
    return 1;
  }
  return 0;
}

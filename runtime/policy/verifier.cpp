#include <leapverify/runtime/policy/statistics.h>
#include <leapverify/runtime/policy/verifier.h>

#include <algorithm>
#include <cmath>

namespace leapverify::policy {
namespace {

bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](double value) { return std::isfinite(value); });
}

}  // namespace

void VerifierOptions::describe(FieldVisitor& visitor) {
  visitor.choice("rule", rule, "how the losses of reference and candidate are compared");
  visitor.field("sequences", sequences, at_least(1), "held-out sequences per comparison");
  visitor.field("margin", margin, at_least(0),
                "strict, adaptive: nats that a candidate must be better by");
  visitor.field("proximity_tolerance", proximity_tolerance, above(0),
                "proximity: largest relative difference of the losses");
  visitor.field("adaptive_window", adaptive_window, at_least(2),
                "adaptive: earlier losses whose spread is allowed");
}

Verifier::Verifier(const VerifierOptions& options) : options_(options) {
  validate_fields(options_);
}

double Verifier::slack(double reference_loss) const {
  switch (options_.rule) {
    case Rule::kStrict:
      return -options_.margin;
    case Rule::kAdaptive:
      return std::sqrt(summarize(past_losses_).variance) - options_.margin;
    case Rule::kProximity:
      return options_.proximity_tolerance * reference_loss;
  }
  return 0;
}

Decision Verifier::decide(const std::vector<double>& reference,
                          const std::vector<double>& candidate) const {
  LV_CHECK(reference.size() == candidate.size(),
           "losses of " << reference.size() << " sequences at the reference and of "
                        << candidate.size() << " at the candidate");
  Decision decision;
  decision.pairs = static_cast<std::int64_t>(reference.size());
  decision.reference_loss = summarize(reference).mean;
  decision.candidate_loss = summarize(candidate).mean;
  decision.limit = decision.reference_loss + slack(decision.reference_loss);
  if (!all_finite(reference) || !all_finite(candidate)) {
    decision.verdict = Verdict::kRejected;
    decision.reason = "a held-out loss is not finite";
  } else if (decision.pairs < options_.sequences) {
    decision.reason = "too few sequences";
  } else {
    const bool near = decision.candidate_loss > 2 * decision.reference_loss - decision.limit;
    const bool accepted =
        decision.candidate_loss < decision.limit && (options_.rule != Rule::kProximity || near);
    decision.verdict = accepted ? Verdict::kAccepted : Verdict::kRejected;
    decision.reason = std::string(accepted ? "within the limit of " : "beyond the limit of ") +
                      name_of(options_.rule);
  }
  return decision;
}

void Verifier::remember(double reference_loss) {
  if (!std::isfinite(reference_loss)) return;
  past_losses_.push_back(reference_loss);
  if (static_cast<std::int64_t>(past_losses_.size()) > options_.adaptive_window) {
    past_losses_.erase(past_losses_.begin());
  }
}

}  // namespace leapverify::policy

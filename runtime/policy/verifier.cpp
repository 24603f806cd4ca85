#include <leapverify/runtime/policy/betting.h>
#include <leapverify/runtime/policy/statistics.h>
#include <leapverify/runtime/policy/verifier.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace leapverify::policy {
namespace {

bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](double value) { return std::isfinite(value); });
}

}  // namespace

void VerifierOptions::describe(FieldVisitor& visitor) {
  visitor.choice("rule", rule, "how the losses of reference and candidate are compared");
  visitor.field("sequences", sequences, at_least(1),
                "held-out sequences per comparison; sequential: taken at a time");
  visitor.field("margin", margin, at_least(0),
                "strict, adaptive, sequential: nats that a candidate must be better by");
  visitor.field("proximity_tolerance", proximity_tolerance, above(0),
                "proximity: largest relative difference of the losses");
  visitor.field("adaptive_window", adaptive_window, at_least(2),
                "adaptive: earlier losses whose spread is allowed");
  visitor.field("alpha", alpha, between(1e-6, 0.5),
                "sequential: largest chance of accepting a candidate that gains nothing");
  visitor.field("pilot", pilot, at_least(2),
                "sequential: first sequences, which only tell the size of the gains");
  visitor.field(
      "clip", clip, Range{0, std::numeric_limits<double>::infinity(), true, true},
      "sequential: gains are clipped to so many times the root mean square of the pilot's");
  visitor.field("max_sequences", max_sequences, at_least(1),
                "sequential: sequences after which a candidate is given up");
  visitor.choice("when", when,
                 "compared at once, after more training against a forecast, or after a race");
  visitor.field("settle_steps", settle_steps, at_least(1),
                "settled, raced: steps of training before the comparison");
}

Verifier::Verifier(const VerifierOptions& options) : options_(options) {
  validate_fields(options_);
  if (options_.rule == Rule::kSequential && pairs_needed() > options_.max_sequences) {
    throw InvalidOption("max_sequences", std::to_string(options_.max_sequences),
                        "at least the " + std::to_string(pairs_needed()) +
                            " that alpha and pilot need to accept anything");
  }
}

std::int64_t Verifier::pairs_needed() const {
  if (options_.rule != Rule::kSequential) return options_.sequences;
  // A pair at most doubles the capital.
  const double doublings = std::ceil(std::log2(1 / options_.alpha)) + 1;
  return options_.pilot + static_cast<std::int64_t>(doublings);
}

std::int64_t Verifier::max_pairs() const {
  return options_.rule == Rule::kSequential ? options_.max_sequences : options_.sequences;
}

double Verifier::slack(double reference_loss) const {
  switch (options_.rule) {
    case Rule::kStrict:
    case Rule::kSequential:
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
  } else if (decision.pairs < pairs_needed()) {
    decision.reason = "too few sequences";
  } else if (options_.rule == Rule::kSequential) {
    decide_by_betting(reference, candidate, decision);
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

void Verifier::decide_by_betting(const std::vector<double>& reference,
                                 const std::vector<double>& candidate, Decision& decision) const {
  const auto pilot = static_cast<std::size_t>(options_.pilot);
  double squares = 0;
  for (std::size_t i = 0; i < pilot; ++i) {
    squares += std::pow(reference[i] - candidate[i], 2) / static_cast<double>(pilot);
  }
  const double clip = options_.clip * std::sqrt(squares);
  if (!(clip > options_.margin)) {
    decision.verdict = Verdict::kRejected;
    decision.reason = "gains are too small to exceed the margin";
    return;
  }
  BettingTest test(options_.margin, clip);
  const double enough = 1 / options_.alpha;
  decision.verdict = Verdict::kUndecided;
  decision.reason = "more sequences are needed";
  for (std::size_t i = pilot; i < reference.size(); ++i) {
    test.add(reference[i] - candidate[i]);
    if (test.capital_for() >= enough || test.capital_against() >= enough) break;
  }
  decision.capital_for = test.capital_for();
  decision.capital_against = test.capital_against();
  if (test.capital_for() >= enough) {
    decision.verdict = Verdict::kAccepted;
    decision.reason = "the capital betted on a gain reached 1 / alpha";
  } else if (test.capital_against() >= enough) {
    decision.verdict = Verdict::kRejected;
    decision.refuted = true;
    decision.reason = "the capital betted against a gain reached 1 / alpha";
  } else if (decision.pairs >= options_.max_sequences) {
    decision.verdict = Verdict::kRejected;
    decision.reason = "no gain was shown within max_sequences";
  }
}

void Verifier::remember(double reference_loss) {
  if (!std::isfinite(reference_loss)) return;
  past_losses_.push_back(reference_loss);
  if (static_cast<std::int64_t>(past_losses_.size()) > options_.adaptive_window) {
    past_losses_.erase(past_losses_.begin());
  }
}

}  // namespace leapverify::policy

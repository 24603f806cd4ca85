// Does a candidate pay? Decided on losses of the same held-out sequences at the reference and at
// the candidate. A new rule: an enumerator and name here, its decision in verifier.cpp, a test.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace leapverify::policy {

enum class Rule { kStrict, kAdaptive, kProximity, kSequential };
enum class Verdict { kAccepted, kRejected, kUndecided };

/// immediate: at the candidate, as published. settled: after some more steps of training from it,
/// against the forecast of the loss without a leap. raced: after as many steps from the candidate
/// and from the reference, on the same data.
enum class When { kImmediate, kSettled, kRaced };

}  // namespace leapverify::policy

namespace leapverify {
template <>
struct EnumNames<policy::Rule> {
  static constexpr Named<policy::Rule> names[] = {{policy::Rule::kStrict, "strict"},
                                                  {policy::Rule::kAdaptive, "adaptive"},
                                                  {policy::Rule::kProximity, "proximity"},
                                                  {policy::Rule::kSequential, "sequential"}};
};
template <>
struct EnumNames<policy::When> {
  static constexpr Named<policy::When> names[] = {{policy::When::kImmediate, "immediate"},
                                                  {policy::When::kSettled, "settled"},
                                                  {policy::When::kRaced, "raced"}};
};
template <>
struct EnumNames<policy::Verdict> {
  static constexpr Named<policy::Verdict> names[] = {{policy::Verdict::kAccepted, "accepted"},
                                                     {policy::Verdict::kRejected, "rejected"},
                                                     {policy::Verdict::kUndecided, "undecided"}};
};
}  // namespace leapverify

namespace leapverify::policy {

struct VerifierOptions {
  Rule rule = Rule::kSequential;
  std::int64_t sequences = 16;
  double margin = 1e-4;
  double proximity_tolerance = 0.05;
  std::int64_t adaptive_window = 10;
  double alpha = 0.05;
  std::int64_t pilot = 8;
  double clip = 4;
  std::int64_t max_sequences = 128;
  When when = When::kImmediate;
  std::int64_t settle_steps = 20;

  void describe(FieldVisitor& visitor);
};

/// A verdict and the numbers it was taken on.
struct Decision {
  Verdict verdict = Verdict::kUndecided;
  /// Rejected because it is no gain, and not because none was shown.
  bool refuted = false;
  /// In words, for the trace.
  std::string reason;
  double reference_loss = 0;
  double candidate_loss = 0;
  /// The candidate was acceptable below (strict, adaptive) or around the reference up to here.
  double limit = 0;
  /// sequential: capitals of the bets for and against the candidate.
  std::optional<double> capital_for;
  std::optional<double> capital_against;
  std::int64_t pairs = 0;
};

/// Eats pairs of per-sequence losses in nats until it can say accepted or rejected.
///
/// With L and L̂ the mean losses at the reference and at the candidate over `sequences` pairs:
///   strict     L̂ < L − margin
///   adaptive   L̂ < L + σ − margin, σ the standard deviation (n − 1) of the last `adaptive_window`
///              reference losses of *earlier* tries; 0 while there are fewer than two
///   proximity  |L̂ − L| < proximity_tolerance · L
/// (arXiv 2602.19580.) None of these bounds the chance of a false accept: a candidate without any
/// true gain passes `strict` about every second time.
///   sequential bets on the gains pair by pair (betting.h) and stops as soon as it knows: accepts
///              when the capital for the candidate reaches 1/alpha, rejects when that against it
///              does or when max_sequences are used up. Gains are clipped to ± `clip` times the
///              root mean square of the first `pilot` gains, which are not betted on.
/// With it a candidate whose mean clipped gain does not exceed the margin is accepted with a chance
/// of at most alpha, as long as sequences are fresh; using them again makes that approximate. A
/// loss that is great but so rare that the pilot misses it is clipped: then the mean clipped gain
/// may exceed the margin where the mean gain does not. docs/calibration.md measures what follows.
/// A loss that is not finite rejects.
class Verifier {
 public:
  /// Throws InvalidOption.
  explicit Verifier(const VerifierOptions& options);

  /// Pairs to begin a link with. Below them no rule accepts.
  std::int64_t pairs_needed() const;

  /// Pairs after which decide() is never undecided.
  std::int64_t max_pairs() const;

  /// Decides on all pairs of one link so far. Throws ContractError when the two lists differ in
  /// length; undecided when more pairs are needed.
  Decision decide(const std::vector<double>& reference, const std::vector<double>& candidate) const;

  /// Remembers the reference loss of a finished try, for `adaptive`.
  void remember(double reference_loss);

  double alpha() const { return options_.alpha; }

  /// The chance that the rule accepts a candidate of no gain, where it bounds it.
  std::optional<double> false_accept_rate() const {
    if (options_.rule != Rule::kSequential) return std::nullopt;
    return options_.alpha;
  }

  const std::vector<double>& past_losses() const { return past_losses_; }
  void restore(std::vector<double> past_losses) { past_losses_ = std::move(past_losses); }

 private:
  double slack(double reference_loss) const;
  void decide_by_betting(const std::vector<double>& reference, const std::vector<double>& candidate,
                         Decision& decision) const;

  VerifierOptions options_;
  std::vector<double> past_losses_;
};

}  // namespace leapverify::policy

// A test that may be looked at after every pair and stopped at any time: does a candidate gain more
// than a margin on average?
#pragma once

#include <cstdint>

namespace leapverify::policy {

/// Testing by betting (Waudby-Smith and Ramdas 2024). A gambler starts with a capital of 1 and bets
/// a share of it on each next gain, chosen from the gains before it. Where the mean of the clipped
/// gains is at most the margin, no way of betting expects to win, so the capital ever reaches 1/α
/// with a chance of at most α (Ville's inequality). A second gambler bets on the opposite.
class BettingTest {
 public:
  /// Gains are clipped to ± `clip`, which must be fixed before any gain is seen.
  /// Throws ContractError unless 0 ≤ margin < clip.
  BettingTest(double margin, double clip);

  /// The gain (loss at the reference − loss at the candidate) on the next sequence. At most doubles
  /// either capital. Throws ContractError for NaN.
  void add(double gain);

  std::int64_t count() const { return count_; }

  /// Capital of the bets that the mean clipped gain exceeds the margin: evidence for accepting.
  double capital_for() const { return capital_for_; }

  /// Capital of the bets that it falls short of the margin: evidence for rejecting.
  double capital_against() const { return capital_against_; }

 private:
  double margin_;
  double clip_;
  std::int64_t count_ = 0;
  // Mean and squared deviations of the gains so far, over the margin, with a prior of one gain.
  double mean_ = 0;
  double squares_;
  double capital_for_ = 1;
  double capital_against_ = 1;
};

}  // namespace leapverify::policy

// The predictors of a run: one, or several that share the tries and are asked less often while
// others pay more.
#pragma once

#include <leapverify/runtime/policy/predictor.h>

#include <cstdint>
#include <vector>

namespace leapverify::policy {

/// Members are asked in the order of how often they have paid: by (wins + 1) / (tries + 2), those
/// listed earlier first where equal. A member has won a try when its candidate was the best one.
/// After n tries in a row that it lost, it sits out the next 2ⁿ − 1 tries, at most kMaxWait. At
/// least one member is asked at every try: the one whose turn comes first.
class Portfolio {
 public:
  /// One member, or those that `portfolio` names for kind portfolio. Throws InvalidOption for an
  /// unknown or repeated name, none, or a member that Predictor refuses.
  explicit Portfolio(const PredictorOptions& options);

  const std::vector<Predictor>& members() const { return members_; }

  /// Of the member that needs most.
  std::int64_t snapshots_needed() const;
  bool needs_gram() const;
  bool has(PredictorKind kind) const;
  bool has_row_per_tensor() const;

  /// Members to ask at this try, in order.
  std::vector<std::size_t> due() const;

  /// Books a finished try: who was asked, and who won, if anybody.
  void record(const std::vector<std::size_t>& asked, std::optional<std::size_t> winner);

  static constexpr std::int64_t kMaxWait = 15;

  struct Member {
    std::int64_t tries = 0;
    std::int64_t wins = 0;
    std::int64_t losses_in_row = 0;
    std::int64_t tries_to_wait = 0;
  };
  using State = std::vector<Member>;
  const State& state() const { return state_; }
  /// Throws ContractError unless there is one record for each member.
  void restore(State state);

 private:
  std::vector<Predictor> members_;
  State state_;
};

}  // namespace leapverify::policy

// What the ranks of a run share while they try leaps: held-out losses, and that something failed.
#pragma once

#include <leapverify/runtime/evaluator.h>
#include <leapverify/runtime/policy/collective.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace leapverify {

/// The ranks that train together, or a process alone. All but whole() is called equally often, and in
/// the same order, on each.
class Replicas {
 public:
  /// Null, or of one rank: a process alone.
  explicit Replicas(Collective* ranks)
      : ranks_(ranks != nullptr && ranks->size() > 1 ? ranks : nullptr) {}

  int rank() const { return ranks_ == nullptr ? 0 : ranks_->rank(); }
  int size() const { return ranks_ == nullptr ? 1 : ranks_->size(); }

  /// Runs an action that shares. What fails on one rank fails on all where they next meet, at the
  /// latest at the end of the action: with its own exception there and with RankFailure elsewhere.
  void run(const std::function<void()>& action);

  /// Within run(): returns when every rank has come here, and throws where one failed before.
  void meet() { meet_or_tell(nullptr); }

  /// Within run(): as evaluator.evaluate(), the losses in fp64. Each rank evaluates the sequences
  /// whose number is its own modulo the number of ranks, or all of them where the evaluator works
  /// together; losses and activations are the same on all.
  Evaluation evaluate(Evaluator& evaluator, const std::vector<std::int64_t>& sequences,
                      bool activations);

  /// Within run(): the values of all ranks, in their order; each gives equally many.
  std::vector<double> concatenate(const std::vector<double>& own);

  /// Within run(): each value's sum over the ranks; each gives equally many.
  std::vector<double> sum(std::vector<double> values);

  /// How many points can be evaluated at once on so many sequences each, by different ranks, without
  /// any rank running more than one forward pass, as it would for a single point: ⌊ranks ÷
  /// sequences⌋, at least 1.
  std::int64_t points_at_once(const Evaluator& evaluator, std::int64_t sequences) const;

  /// Forward passes of all ranks while so many sequences are evaluated, those included that some
  /// wait for.
  std::int64_t forwards(const Evaluator& evaluator, std::int64_t sequences) const;

  /// As leapverify::require_same().
  void require_same(const std::string& what, std::uint64_t digest);
  void require_same(const std::string& what, const std::string& text);

 private:
  void meet_or_tell(const std::exception* failure);

  Collective* ranks_;
};

}  // namespace leapverify

// The processes that train together, as decisions see them.
#pragma once

#include <leapverify/kernels/error.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace leapverify {

/// The ranks cannot go on together: one is lost, hung, out of step or, as RankMismatch says, holds
/// something else.
class CollectiveError : public Error {
 public:
  using Error::Error;
};

/// What must be the same on all ranks is not; thrown on every one.
class RankMismatch : public CollectiveError {
 public:
  using CollectiveError::CollectiveError;
};

/// Something failed on other ranks, and all have agreed not to go on with it.
class RankFailure : public Error {
 public:
  using Error::Error;
};

/// The ranks of a run. Every rank calls its functions, and those below, equally often and in the same
/// order.
class Collective {
 public:
  virtual ~Collective() = default;

  /// Of this process, from 0.
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Replaces each value by its sum over the ranks, bitwise the same on all; every rank gives equally
  /// many. A value that all others give as 0 comes out as it is, but for the sign of 0. Throws
  /// CollectiveError within a time-out where a rank does not answer; nothing may be called after that.
  virtual void sum(std::vector<double>& values) = 0;
};

/// Returns when every rank has called it.
void barrier(Collective& ranks);

/// The values of rank `root` on all; elsewhere equally many come in.
void broadcast(Collective& ranks, std::vector<double>& values, int root = 0);

/// The text of rank `root` on all.
std::string broadcast(Collective& ranks, const std::string& text, int root = 0);

/// [rank]: the values of each; every rank gives equally many.
std::vector<std::vector<double>> gather(Collective& ranks, const std::vector<double>& values);

/// "rank 2", "ranks 0, 1 and 3".
std::string rank_names(const std::vector<int>& ranks);

/// Throws RankMismatch where the digest is not the same on all. The message names
/// `what`, and the ranks whose digest is not that of most.
void require_same(Collective& ranks, const std::string& what, std::uint64_t digest);
/// The same for texts.
void require_same(Collective& ranks, const std::string& what, const std::string& text);

/// Runs the action on every rank. Where it throws on some, it ends with that exception there and with
/// RankFailure, which holds the words of the first of them, on the others. CollectiveError passes.
void succeed_together(Collective& ranks, const std::function<void()>& action);

}  // namespace leapverify

#include <leapverify/runtime/policy/collective.h>

#include <algorithm>
#include <exception>
#include <map>

namespace leapverify {
namespace {

/// FNV-1a.
std::uint64_t digest_of(const std::string& text) {
  std::uint64_t digest = 0xcbf29ce484222325;
  for (const char letter : text) {
    digest = (digest ^ static_cast<unsigned char>(letter)) * 0x100000001b3;
  }
  return digest;
}

}  // namespace

void barrier(Collective& ranks) {
  std::vector<double> nothing(1);
  ranks.sum(nothing);
}

void broadcast(Collective& ranks, std::vector<double>& values, int root) {
  if (ranks.rank() != root) std::fill(values.begin(), values.end(), 0.0);
  ranks.sum(values);
}

std::string broadcast(Collective& ranks, const std::string& text, int root) {
  std::vector<double> length = {static_cast<double>(text.size())};
  broadcast(ranks, length, root);
  std::vector<double> letters(static_cast<std::size_t>(length.front()));
  if (ranks.rank() == root) {
    std::transform(text.begin(), text.end(), letters.begin(),
                   [](char letter) { return static_cast<unsigned char>(letter); });
  }
  broadcast(ranks, letters, root);
  std::string result;
  for (const double letter : letters) {
    result += static_cast<char>(static_cast<unsigned char>(letter));
  }
  return result;
}

std::vector<std::vector<double>> gather(Collective& ranks, const std::vector<double>& values) {
  const auto size = static_cast<std::size_t>(ranks.size());
  const std::size_t count = values.size();
  std::vector<double> all(size * count);
  std::copy(
      values.begin(), values.end(),
      all.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(ranks.rank()) * count));
  ranks.sum(all);
  std::vector<std::vector<double>> result;
  for (std::size_t rank = 0; rank < size; ++rank) {
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(rank * count);
    result.emplace_back(first, first + static_cast<std::ptrdiff_t>(count));
  }
  return result;
}

std::string rank_names(const std::vector<int>& ranks) {
  std::string names = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (i > 0) names += i + 1 == ranks.size() ? " and " : ", ";
    names += std::to_string(ranks[i]);
  }
  return names;
}

void require_same(Collective& ranks, const std::string& what, std::uint64_t digest) {
  // A double holds 32 bits exactly.
  const auto rows =
      gather(ranks, {static_cast<double>(digest >> 32), static_cast<double>(digest & 0xffffffff)});
  std::map<std::vector<double>, int> holders;
  for (const std::vector<double>& row : rows) ++holders[row];
  if (holders.size() == 1) return;
  // Of several that equally many hold, that of the first rank.
  const std::vector<double>* most = &rows.front();
  for (const std::vector<double>& row : rows) {
    if (holders[row] > holders[*most]) most = &row;
  }
  std::vector<int> others;
  std::vector<int> alike;
  for (std::size_t rank = 0; rank < rows.size(); ++rank) {
    (rows[rank] == *most ? alike : others).push_back(static_cast<int>(rank));
  }
  throw RankMismatch(what + ": " + rank_names(others) + (others.size() == 1 ? " has" : " have") +
                     " another than " + rank_names(alike));
}

void require_same(Collective& ranks, const std::string& what, const std::string& text) {
  require_same(ranks, what, digest_of(text));
}

void succeed_together(Collective& ranks, const std::function<void()>& action) {
  std::exception_ptr failure;
  std::string words;
  try {
    action();
  } catch (const CollectiveError&) {
    throw;
  } catch (const std::exception& error) {
    failure = std::current_exception();
    words = error.what();
    words.resize(std::min(words.find('\n'), words.size()));
  }
  const auto rows = gather(ranks, {failure ? 1.0 : 0.0});
  std::vector<int> failed;
  for (std::size_t rank = 0; rank < rows.size(); ++rank) {
    if (rows[rank].front() != 0) failed.push_back(static_cast<int>(rank));
  }
  if (failed.empty()) return;
  words = broadcast(ranks, words, failed.front());
  if (failure) std::rethrow_exception(failure);
  throw RankFailure("failed on " + rank_names(failed) + ": " + words);
}

}  // namespace leapverify

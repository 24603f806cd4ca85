// Random numbers without state: a draw depends on the seed and its place alone, so that any batch
// can be drawn again, in any order, on any machine.
#pragma once

#include <leapverify/kernels/mix.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace leapverify::data {

/// What is drawn; draws for different purposes are unrelated.
enum class Draw : std::uint64_t {
  kDocumentOrder,
  kTrainBatch,
  kGateOrder,
  kValidationOrder,
  kSplit
};

/// A word of SplitMix64 for place (a, b).
inline std::uint64_t random_word(std::int64_t seed, Draw draw, std::uint64_t a,
                                 std::uint64_t b = 0) {
  std::uint64_t word = 0;
  for (const std::uint64_t part :
       {static_cast<std::uint64_t>(seed), static_cast<std::uint64_t>(draw), a, b}) {
    word = kernels::mix((word ^ part) + kernels::kGoldenGamma);
  }
  return word;
}

/// The indices in an order that follows from the seed.
inline std::vector<std::int64_t> shuffled(const std::vector<std::int64_t>& indices,
                                          std::int64_t seed, Draw draw) {
  std::vector<std::pair<std::uint64_t, std::int64_t>> keyed;
  for (const std::int64_t index : indices) {
    keyed.emplace_back(random_word(seed, draw, static_cast<std::uint64_t>(index)), index);
  }
  std::sort(keyed.begin(), keyed.end());
  std::vector<std::int64_t> result;
  for (const auto& [key, index] : keyed) result.push_back(index);
  return result;
}

/// FNV-1a, of words where the original has bytes.
inline constexpr std::uint64_t kFnvBasis = 0xcbf29ce484222325u;
inline std::uint64_t fnv_step(std::uint64_t hash, std::uint64_t word) {
  return (hash ^ word) * 0x100000001b3u;
}

inline std::uint64_t hash_bytes(const std::uint8_t* bytes, std::int64_t count) {
  std::uint64_t hash = kFnvBasis;
  for (std::int64_t i = 0; i < count; ++i) hash = fnv_step(hash, bytes[i]);
  return hash;
}

}  // namespace leapverify::data

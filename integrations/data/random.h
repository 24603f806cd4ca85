// Random numbers without state: a draw depends on the seed and its place alone, so that any batch
// can be drawn again, in any order, on any machine.
#pragma once

#include <leapverify/kernels/mix.h>

#include <cstdint>
#include <initializer_list>

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

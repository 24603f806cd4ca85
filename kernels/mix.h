// The bijection of 64-bit words that digests are built from.
#pragma once

#include <leapverify/kernels/host_device.h>

#include <cstdint>

namespace leapverify::kernels {

/// 2^64 divided by the golden ratio, odd: multiples of it are spread evenly over the words.
inline constexpr std::uint64_t kGoldenGamma = 0x9e3779b97f4a7c15u;

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
LV_HOST_DEVICE inline std::uint64_t mix(std::uint64_t word) {
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
  return word ^ (word >> 31);
}

}  // namespace leapverify::kernels

// A 64-bit digest of all weights: agreement among replicas, and proof that a rollback was exact.
#pragma once

#include <leapverify/kernels/segment_table.h>

#include <cstdint>

namespace leapverify::kernels {

/// Adds the digest of `table` to *digest, which lies in the memory of the table's device and which
/// the caller sets to zero.
///
/// Formula: modulo 2^64,
///   Σ over segments s of g(length_s, dtype_s, s)
///   + Σ over words w of segment s of mix(bits(w) ^ (position(s, w) + 1) · γ),
/// where a word is 8 bytes of a segment's memory counted from its start (the last one filled up
/// with zeros), position(s, w) = 2^40 · s + w, γ = 0x9e3779b97f4a7c15, g mixes its arguments in the
/// same manner, and mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014), a bijection of
/// 64-bit words. Hence any change within one word changes the digest; changes in several words go
/// unnoticed with chance 2^-64.
///
/// Shapes: any dtypes, any lengths; the digest depends on lengths, dtypes and order too.
///
/// Stream: runs in `stream`, does not synchronise, may be captured into a CUDA graph. Allocates
/// nothing.
///
/// Determinism: integer arithmetic, so the order of additions does not matter: bitwise the same on
/// every run, on CPU and CUDA, for any alignment, number of threads and launch configuration.
///
/// Errors: ContractError on a null digest; DeviceError on a failed launch.
void checksum(const SegmentTable& table, std::uint64_t* digest, Stream stream = nullptr);

}  // namespace leapverify::kernels

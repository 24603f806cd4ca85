// Runs a loop of the CPU versions in AVX2 and FMA code where the processor has them. The results
// are the same either way: std::fma rounds once also where it is a call into the C library.
#pragma once

namespace leapverify::kernels {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)

template <typename Body>
__attribute__((target("avx2,fma"), flatten, noinline)) void with_avx2(const Body& body) {
  body();
}

/// Calls body(). What it calls is inlined into the wide version, so it should hold whole loops.
template <typename Body>
void with_wide_vectors(const Body& body) {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx2) {
    with_avx2(body);
  } else {
    body();
  }
}

#else

/// Calls body().
template <typename Body>
void with_wide_vectors(const Body& body) {
  body();
}

#endif

}  // namespace leapverify::kernels

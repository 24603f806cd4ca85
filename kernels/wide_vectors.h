// Runs a loop of the CPU versions in the widest vector code that the processor has. The results are
// the same either way: std::fma rounds once also where it is a call into the C library. Compilers
// other than GCC get the baseline's code.
#pragma once

namespace leapverify::kernels {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)

template <typename Body>
__attribute__((target("avx2,fma"), flatten, noinline)) void with_avx2(const Body& body) {
  body();
}

/// Beyond wider registers, AVX-512 multiplies 64-bit integers, which is what checksum lives on.
template <typename Body>
__attribute__((target("avx2,fma,avx512f,avx512vl,avx512dq,avx512bw"), flatten, noinline)) void
with_avx512(const Body& body) {
  body();
}

enum class VectorLevel { kBaseline, kAvx2, kAvx512 };

inline VectorLevel vector_level() {
  static const VectorLevel level = [] {
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    if (!avx2) {
      return VectorLevel::kBaseline;
    }
    return avx512 ? VectorLevel::kAvx512 : VectorLevel::kAvx2;
  }();
  return level;
}

/// Calls body(). What it calls is inlined into the wide versions, so it should hold whole loops, and
/// keep what they change in local variables: through a captured reference it might alias the data.
template <typename Body>
void with_wide_vectors(const Body& body) {
  switch (vector_level()) {
    case VectorLevel::kAvx512:
      return with_avx512(body);
    case VectorLevel::kAvx2:
      return with_avx2(body);
    case VectorLevel::kBaseline:
      return body();
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

// Makes LibTorch's elementwise functions on the CPU repeat themselves from process to process.
#pragma once

namespace leapverify {

/// Calls each elementwise function that LibTorch leaves to MKL's vector math library once, on one
/// float32 and one float64 element in the calling thread. MKL chooses the code of a function at its
/// first call; when that runs on several threads at once, MKL before 2025.0 may give one of them a
/// part of the result with errors of some 1000 units in the last place, once in the process. Call
/// it before the first computation; LeapVerify's constructor does. Repeated calls return at once.
/// Source of the defect: github.com/pytorch/pytorch/issues/188792.
void resolve_vector_math();

}  // namespace leapverify

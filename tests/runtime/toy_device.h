// Where the toy problem lives: on the CPU, or with LEAPVERIFY_TEST_DEVICE=cuda on the first GPU, so
// that every test of the runtime can be run on either.
#pragma once

#include <ATen/Context.h>
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace leapverify {

/// The exit code by which ctest knows that a test was skipped.
inline constexpr int kSkipped = 77;

/// Ends the program with kSkipped where a GPU is asked for and there is none. On a GPU torch's
/// algorithms are the deterministic ones: without them no run repeats itself.
inline at::Device toy_device() {
  static const at::Device device = [] {
    const char* wanted = std::getenv("LEAPVERIFY_TEST_DEVICE");
    if (wanted == nullptr || std::string(wanted) != "cuda") return at::Device(at::kCPU);
    if (!torch::cuda::is_available()) {
      std::puts("skipped: no CUDA device");
      std::exit(kSkipped);
    }
    setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 1);
    at::globalContext().setDeterministicAlgorithms(true, false);
    return at::Device(at::kCUDA, 0);
  }();
  return device;
}

}  // namespace leapverify

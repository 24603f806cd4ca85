// What a run and a speculative worker give each other, and how that is written.
#pragma once

#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/optimizer_state.h>
#include <leapverify/runtime/step_runner.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leapverify {

/// Of what is trained, in the base optimizer's order, on the CPU.
struct SpeculativeResult {
  std::vector<at::Tensor> weights;
  OptimizerState optimizer;
};

/// Steps of training for a worker, from predicted weights, and the optimizer's state when it was given.
struct SpeculativeJob : SpeculativeResult {
  /// Done before its first: t + K.
  std::int64_t step = 0;
  std::int64_t steps = 0;
  /// Of its first.
  TrainingPosition position;
  /// Factor on the scheduled learning rates.
  double rate_scale = 1;
};

/// As JSON and tensors, for files; unpacked they are the same bit for bit.
LeapVerifyState pack(const SpeculativeResult& result);
LeapVerifyState pack(const SpeculativeJob& job);
/// These throw FormatError, which names the source.
SpeculativeResult unpack_result(const LeapVerifyState& packed, const std::string& source);
SpeculativeJob unpack_job(const LeapVerifyState& packed, const std::string& source);

}  // namespace leapverify

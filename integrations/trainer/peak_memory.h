// The most memory that a run has held so far.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>

namespace leapverify::trainer {

/// In bytes: on a GPU what torch's allocator had handed out, on the CPU the resident memory of the
/// process. Never waits for the device.
std::int64_t peak_memory(c10::Device device);

}  // namespace leapverify::trainer

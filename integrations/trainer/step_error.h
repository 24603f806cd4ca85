// A training step that ran out of memory: what to lower.
#pragma once

#include <leapverify/integrations/trainer/config.h>

#include <exception>
#include <string>

namespace leapverify::trainer {

/// Whether `error` says that memory, of the host or of a GPU, does not suffice.
bool is_out_of_memory(const std::exception& error);

/// One line: that the step does not fit, and what of the config would make it smaller.
std::string out_of_memory_text(const Config& config, std::int64_t step);

}  // namespace leapverify::trainer

// The words of an exception for a person and for the trace.
#pragma once

#include <exception>
#include <string>

namespace leapverify {

/// The first line of what an exception says, without the stack trace that torch's errors carry, as
/// valid UTF-8; never empty.
std::string error_text(const std::exception& error);

}  // namespace leapverify

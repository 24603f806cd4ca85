// Errors of the library: one base type, and check macros that say what was expected and where.
// Every message names the value that was refused and the legal range.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace leapverify {

/// Base of every exception thrown by LeapVerify.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A caller broke the contract of a function: wrong shapes, devices, dtypes or counts.
class ContractError : public Error {
 public:
  using Error::Error;
};

/// A CUDA runtime or cuBLAS call failed; the message holds its name and the driver's words.
class DeviceError : public Error {
 public:
  using Error::Error;
};

namespace detail {
[[noreturn]] void throw_contract_error(const char* expression, const char* file, int line,
                                       const std::string& message);
[[noreturn]] void throw_device_error(const char* call, const char* file, int line, const char* code,
                                     const char* description);
}  // namespace detail
}  // namespace leapverify

/// LV_CHECK(condition, "streamed" << message): throws ContractError when the condition is false.
#define LV_CHECK(condition, message)                                             \
  do {                                                                           \
    if (!(condition)) {                                                          \
      std::ostringstream lv_check_stream;                                        \
      lv_check_stream << message;                                                \
      ::leapverify::detail::throw_contract_error(#condition, __FILE__, __LINE__, \
                                                 lv_check_stream.str());         \
    }                                                                            \
  } while (false)

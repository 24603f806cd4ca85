// Where the check macros end up: one out-of-line throw for each type of error.
#include <leapverify/kernels/error.h>

namespace leapverify::detail {

void throw_contract_error(const char* expression, const char* file, int line,
                          const std::string& message) {
  std::ostringstream text;
  text << message << " [" << expression << " is false at " << file << ":" << line << "]";
  throw ContractError(text.str());
}

void throw_device_error(const char* call, const char* file, int line, const char* code,
                        const char* description) {
  std::ostringstream text;
  text << call << " failed with " << code << ": " << description << " [at " << file << ":" << line
       << "]";
  throw DeviceError(text.str());
}

}  // namespace leapverify::detail

// from_safetensors() refuses any bytes with one line, or takes what to_safetensors() writes back.
#include <torch/torch.h>

#include <cstdint>

#include "fuzz/fuzz_checks.h"

namespace leapverify {
namespace {

void read(const std::string& bytes) {
  NamedTensors tensors;
  try {
    tensors = from_safetensors(bytes, "input");
  } catch (const FormatError& error) {
    require_one_line(error.what());
    return;
  }
  require(same(from_safetensors(to_safetensors(tensors), "written"), tensors),
          "written and read again, the tensors differ");
}

/// The same with a header that ends at the last brace: else nearly every change of the header's
/// length would be refused for that alone.
std::string with_matching_length(std::string bytes) {
  const std::size_t brace = bytes.rfind('}');
  if (brace == std::string::npos || brace < 8) return bytes;
  const std::uint64_t length = brace + 1 - 8;
  std::memcpy(bytes.data(), &length, 8);
  return bytes;
}

}  // namespace
}  // namespace leapverify

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  leapverify::read(bytes);
  leapverify::read(leapverify::with_matching_length(bytes));
  return 0;
}

// from_safetensors() refuses any bytes with one line, or takes what to_safetensors() writes back.
#include <fuzzer/FuzzedDataProvider.h>
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

std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

/// The numbers of a JSON list.
std::string list(const std::vector<std::uint64_t>& numbers) {
  std::string text;
  for (const std::uint64_t number : numbers) {
    text += (text.empty() ? "" : ",") + std::to_string(number);
  }
  return "[" + text + "]";
}

/// An entry that mostly begins where the last one ended, at `*end`, and has the bytes it needs.
std::string make_entry(FuzzedDataProvider& choices, std::uint64_t* end) {
  const struct {
    const char* name;
    std::uint64_t bytes;
  } dtypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8},  {"I64", 8}, {"I32", 4},
                {"I16", 2}, {"I8", 1},  {"U8", 1},   {"BOOL", 1}, {"F8", 1}};
  const auto& dtype = dtypes[choices.ConsumeIntegralInRange<std::size_t>(0, 10)];
  std::uint64_t bytes = dtype.bytes;
  std::vector<std::uint64_t> shape(choices.ConsumeIntegralInRange<std::size_t>(0, 4));
  for (std::uint64_t& size : shape) {
    size = choices.PickValueInArray<std::uint64_t>({1, 2, 3, 0, 65, 1ull << 31, 1ull << 62, ~0ull});
    bytes *= size;
  }
  const auto odd = choices.ConsumeIntegralInRange<int>(0, 15);
  const std::uint64_t begin = odd == 1 ? choices.ConsumeIntegral<std::uint64_t>() : *end;
  *end = odd == 2 ? choices.ConsumeIntegral<std::uint64_t>() : begin + bytes;
  const std::string name =
      choices.PickValueInArray({"a", "b", "c", "d", "e", "line\\nbreak", "__metadata__"});
  return "\"" + name + "\":{\"dtype\":\"" + dtype.name + "\",\"shape\":" + list(shape) +
         ",\"data_offsets\":" + list({begin, *end}) + "}";
}

/// A file made of entries by choices: what changes of single bytes seldom arrive at.
std::string make_file(FuzzedDataProvider& choices) {
  std::string entries;
  std::uint64_t end = 0;
  do {
    entries += (entries.empty() ? "" : ",") + make_entry(choices, &end);
  } while (choices.ConsumeBool());
  return file_of("{" + entries + "}", std::string(end % 4096, 'x'));
}

/// The bytes with a header that ends at the last brace: else nearly every change of the header's
/// length would be refused for that alone.
std::string with_matching_length(const std::string& bytes) {
  const std::size_t brace = bytes.rfind('}');
  if (brace == std::string::npos || brace < 8) return bytes;
  return file_of(bytes.substr(8, brace + 1 - 8), bytes.substr(brace + 1));
}

}  // namespace
}  // namespace leapverify

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider choices(data, size);
  leapverify::read(leapverify::make_file(choices));
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  leapverify::read(bytes);
  leapverify::read(leapverify::with_matching_length(bytes));
  return 0;
}

#include <leapverify/runtime/safetensors.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

namespace leapverify {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kPrefix = 8;

struct NamedDtype {
  at::ScalarType dtype;
  const char* name;
};
constexpr NamedDtype kDtypes[] = {{at::kFloat, "F32"},  {at::kHalf, "F16"}, {at::kBFloat16, "BF16"},
                                  {at::kDouble, "F64"}, {at::kLong, "I64"}, {at::kInt, "I32"},
                                  {at::kShort, "I16"},  {at::kChar, "I8"},  {at::kByte, "U8"},
                                  {at::kBool, "BOOL"}};

const char* dtype_name(at::ScalarType dtype, const std::string& tensor) {
  for (const NamedDtype& entry : kDtypes) {
    if (entry.dtype == dtype) return entry.name;
  }
  throw FormatError(tensor + ": safetensors has no dtype " + at::toString(dtype));
}

/// One entry of the header, checked by itself.
struct Entry {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// Bytes of a tensor; throws when the product does not fit.
std::uint64_t byte_count(const Entry& entry, const std::string& where) {
  std::uint64_t bytes = at::elementSize(entry.dtype);
  for (const std::int64_t size : entry.shape) {
    if (size < 0) throw FormatError(where + ": negative size " + std::to_string(size));
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes)) {
      throw FormatError(where + ": the shape has too many elements");
    }
  }
  return bytes;
}

Entry parse_entry(const std::string& name, const json& value, std::uint64_t data_size,
                  const std::string& source) {
  const std::string where = source + ": tensor '" + name + "'";
  Entry entry;
  entry.name = name;
  std::string dtype;
  try {
    dtype = value.at("dtype").get<std::string>();
    entry.shape = value.at("shape").get<std::vector<std::int64_t>>();
    const auto offsets = value.at("data_offsets").get<std::vector<std::uint64_t>>();
    if (offsets.size() != 2) throw FormatError(where + ": data_offsets needs two numbers");
    entry.begin = offsets[0];
    entry.end = offsets[1];
  } catch (const json::exception& error) {
    throw FormatError(where + ": bad header entry: " + error.what());
  }
  const auto* known = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                   [&](const NamedDtype& item) { return dtype == item.name; });
  if (known == std::end(kDtypes)) throw FormatError(where + ": unknown dtype '" + dtype + "'");
  entry.dtype = known->dtype;
  if (entry.begin > entry.end || entry.end > data_size) {
    throw FormatError(where + ": bytes " + std::to_string(entry.begin) + " to " +
                      std::to_string(entry.end) + " of " + std::to_string(data_size));
  }
  if (byte_count(entry, where) != entry.end - entry.begin) {
    throw FormatError(where + ": the shape needs " + std::to_string(byte_count(entry, where)) +
                      " bytes, the file has " + std::to_string(entry.end - entry.begin));
  }
  return entry;
}

json parse_header(const std::string& bytes, std::uint64_t size, const std::string& source) {
  json header;
  try {
    header = json::parse(bytes.begin() + kPrefix,
                         bytes.begin() + static_cast<std::ptrdiff_t>(kPrefix + size));
  } catch (const json::exception& error) {
    throw FormatError(source + ": the header is not JSON: " + error.what());
  }
  if (!header.is_object()) throw FormatError(source + ": the header is not a JSON object");
  return header;
}

}  // namespace

std::string to_safetensors(const NamedTensors& tensors) {
  ordered_json header = ordered_json::object();
  std::vector<at::Tensor> data;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    if (header.contains(name)) throw FormatError("tensor '" + name + "' given twice");
    data.push_back(tensor.detach().cpu().contiguous());
    const std::uint64_t end = offset + data.back().nbytes();
    header[name] = {{"dtype", dtype_name(tensor.scalar_type(), name)},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  // The data starts at a multiple of 8, so that every dtype can be mapped in place.
  text.append((8 - text.size() % 8) % 8, ' ');
  const std::uint64_t length = text.size();
  std::string bytes(kPrefix, '\0');
  std::memcpy(bytes.data(), &length, kPrefix);
  bytes += text;
  bytes.reserve(bytes.size() + offset);
  for (const at::Tensor& tensor : data) {
    bytes.append(static_cast<const char*>(tensor.data_ptr()), tensor.nbytes());
  }
  return bytes;
}

NamedTensors from_safetensors(const std::string& bytes, const std::string& source) {
  if (bytes.size() < kPrefix) throw FormatError(source + ": shorter than a safetensors header");
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), kPrefix);
  if (header_size > kMaxHeader || header_size > bytes.size() - kPrefix) {
    throw FormatError(source + ": header of " + std::to_string(header_size) +
                      " bytes in a file of " + std::to_string(bytes.size()));
  }
  const json header = parse_header(bytes, header_size, source);
  const std::uint64_t data_size = bytes.size() - kPrefix - header_size;
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != "__metadata__") entries.push_back(parse_entry(name, value, data_size, source));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::make_pair(a.begin, a.end) < std::make_pair(b.begin, b.end);
  });
  NamedTensors tensors;
  std::uint64_t expected = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != expected) {
      throw FormatError(source + ": tensor '" + entry.name + "' begins at byte " +
                        std::to_string(entry.begin) + ", expected " + std::to_string(expected));
    }
    expected = entry.end;
    at::Tensor tensor = at::empty(entry.shape, entry.dtype);
    if (entry.end > entry.begin) {
      std::memcpy(tensor.data_ptr(), bytes.data() + kPrefix + header_size + entry.begin,
                  entry.end - entry.begin);
    }
    tensors.emplace_back(entry.name, std::move(tensor));
  }
  if (expected != data_size) {
    throw FormatError(source + ": " + std::to_string(data_size - expected) +
                      " bytes belong to no tensor");
  }
  return tensors;
}

const at::Tensor& find_like(const NamedTensors& tensors, const std::string& name,
                            const at::Tensor& like, const std::string& source) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const auto& item) { return item.first == name; });
  if (found == tensors.end()) throw FormatError(source + ": tensor '" + name + "' is missing");
  const at::Tensor& tensor = found->second;
  if (tensor.sizes() != like.sizes() || tensor.scalar_type() != like.scalar_type()) {
    std::ostringstream message;
    message << source << ": tensor '" << name << "' is " << tensor.scalar_type() << " "
            << tensor.sizes() << ", expected " << like.scalar_type() << " " << like.sizes();
    throw FormatError(message.str());
  }
  return tensor;
}

}  // namespace leapverify

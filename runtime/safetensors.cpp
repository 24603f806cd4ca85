#include <leapverify/runtime/mapped_file.h>
#include <leapverify/runtime/safetensors.h>
#include <leapverify/runtime/strict_json.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

namespace leapverify {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kPrefix = 8;
/// An entry's lists, the entry, the header.
constexpr int kHeaderDepth = 3;
constexpr const char* kMetadata = "__metadata__";

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
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

at::ScalarType dtype_of(const json& value, const std::string& where) {
  const auto name = value.at("dtype").get<std::string>();
  for (const NamedDtype& entry : kDtypes) {
    if (entry.name == name) return entry.dtype;
  }
  throw FormatError(where + ": unknown dtype '" + excerpt(name) + "'");
}

/// The numbers of a list, which get<>() would cut to size in silence.
std::vector<std::int64_t> whole_numbers(const json& value, const char* key,
                                        const std::string& where) {
  std::vector<std::int64_t> numbers;
  for (const json& item : value.at(key).get_ref<const json::array_t&>()) {
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() > INT64_MAX) {
      throw FormatError(where + ": " + key + " holds " + excerpt(item.dump()) +
                        ", expected whole numbers from 0 to 2^63 - 1");
    }
    numbers.push_back(item.get<std::int64_t>());
  }
  return numbers;
}

/// Bytes of a tensor; throws when they, or its strides, cannot be counted.
std::int64_t byte_count(const Entry& entry, const std::string& where) {
  auto bytes = static_cast<std::int64_t>(at::elementSize(entry.dtype));
  bool empty = false;
  for (const std::int64_t size : entry.shape) {
    empty = empty || size == 0;
    if (__builtin_mul_overflow(bytes, std::max<std::int64_t>(size, 1), &bytes)) {
      throw FormatError(where + ": the shape has too many elements");
    }
  }
  return empty ? 0 : bytes;
}

Entry parse_entry(const std::string& name, const json& value, std::int64_t data_size,
                  const std::string& source) {
  const std::string where = source + ": tensor '" + excerpt(name) + "'";
  Entry entry;
  entry.name = name;
  try {
    entry.dtype = dtype_of(value, where);
    entry.shape = whole_numbers(value, "shape", where);
    const auto offsets = whole_numbers(value, "data_offsets", where);
    if (offsets.size() != 2) throw FormatError(where + ": data_offsets needs two numbers");
    entry.begin = offsets[0];
    entry.end = offsets[1];
  } catch (const json::exception& error) {
    throw FormatError(where + ": bad header entry: " + excerpt(error.what()));
  }
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

/// The entries in the order of their bytes, which they cover without gap or overlap.
std::vector<Entry> parse_entries(const json& header, std::int64_t data_size,
                                 const std::string& source) {
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != kMetadata) entries.push_back(parse_entry(name, value, data_size, source));
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::make_pair(a.begin, a.end) < std::make_pair(b.begin, b.end);
  });
  std::int64_t expected = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != expected) {
      throw FormatError(source + ": tensor '" + excerpt(entry.name) + "' begins at byte " +
                        std::to_string(entry.begin) + ", expected " + std::to_string(expected));
    }
    expected = entry.end;
  }
  if (expected != data_size) {
    throw FormatError(source + ": " + std::to_string(data_size - expected) +
                      " bytes belong to no tensor");
  }
  return entries;
}

/// A file taken apart.
struct Layout {
  std::vector<Entry> entries;
  /// Where the tensors' bytes begin.
  std::size_t data_begin = 0;
};

Layout parse(std::string_view bytes, const std::string& source) {
  if (bytes.size() < kPrefix) throw FormatError(source + ": shorter than a safetensors header");
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), kPrefix);
  if (header_size > kMaxHeader || header_size > bytes.size() - kPrefix) {
    throw FormatError(source + ": header of " + std::to_string(header_size) +
                      " bytes in a file of " + std::to_string(bytes.size()));
  }
  const json header =
      parse_object(bytes.substr(kPrefix, header_size), kHeaderDepth, source + ": header");
  const std::size_t data_begin = kPrefix + header_size;
  return {parse_entries(header, static_cast<std::int64_t>(bytes.size() - data_begin), source),
          data_begin};
}

at::Tensor copy_of(const Entry& entry, const char* bytes) {
  at::Tensor tensor = at::empty(entry.shape, entry.dtype);
  if (entry.end > entry.begin) std::memcpy(tensor.data_ptr(), bytes, tensor.nbytes());
  return tensor;
}

/// A view of the file's bytes where the dtype can be read in place.
at::Tensor view_of(const Entry& entry, char* bytes, std::shared_ptr<const MappedFile> file) {
  if (reinterpret_cast<std::uintptr_t>(bytes) % at::elementSize(entry.dtype) != 0) {
    return copy_of(entry, bytes);
  }
  const auto keep_file = [file = std::move(file)](void*) {};
  return at::from_blob(bytes, entry.shape, keep_file, entry.dtype);
}

}  // namespace

std::string to_safetensors(const NamedTensors& tensors,
                           const std::map<std::string, std::string>& metadata) {
  ordered_json header = ordered_json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    if (name == kMetadata) throw FormatError("tensor '" + name + "': the name is reserved");
    if (header.contains(name)) throw FormatError("tensor '" + name + "' given twice");
    const std::uint64_t end = offset + tensor.nbytes();
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
  for (const auto& named : tensors) {
    const at::Tensor tensor = named.second.detach().cpu().contiguous();
    bytes.append(static_cast<const char*>(tensor.data_ptr()), tensor.nbytes());
  }
  return bytes;
}

NamedTensors from_safetensors(const std::string& bytes, const std::string& source) {
  const Layout layout = parse(bytes, source);
  NamedTensors tensors;
  for (const Entry& entry : layout.entries) {
    tensors.emplace_back(entry.name,
                         copy_of(entry, bytes.data() + layout.data_begin + entry.begin));
  }
  return tensors;
}

NamedTensors map_safetensors(const std::filesystem::path& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  const Layout layout = parse(file->bytes(), path.string());
  NamedTensors tensors;
  for (const Entry& entry : layout.entries) {
    char* bytes = file->data() + layout.data_begin + entry.begin;
    tensors.emplace_back(entry.name, view_of(entry, bytes, file));
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

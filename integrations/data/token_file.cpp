#include <leapverify/integrations/data/token_file.h>

#include <cstring>
#include <fstream>

namespace leapverify::data {
namespace {

constexpr std::int64_t kHeaderBytes = 256 * sizeof(std::int32_t);

struct Variant {
  std::int32_t magic, version;
  int width;
};

constexpr Variant kVariants[] = {{20240520, 1, 2}, {20240801, 7, 4}};

const Variant* variant_of(std::int32_t magic) {
  for (const Variant& variant : kVariants) {
    if (variant.magic == magic) return &variant;
  }
  return nullptr;
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& path, DataFormat format)
    : path_(path.string()), file_(path) {
  const auto bytes = static_cast<std::int64_t>(file_.size());
  if (format == DataFormat::kLlmc) {
    read_header();
  } else if (begins_as_llmc(path)) {
    throw DataError(path_, "begins with the header of an llm.c token file",
                    "data.format: llmc, or tokens without a header");
  } else if (bytes % width_ != 0) {
    throw DataError(path_, "has " + std::to_string(bytes) + " bytes, an odd number",
                    "tokens of 16 bits (data.format: nanogpt)");
  } else {
    size_ = bytes / width_;
  }
  if (size_ == 0) throw DataError(path_, "holds no tokens", "at least one");
}

void TokenFile::read_header() {
  const auto bytes = static_cast<std::int64_t>(file_.size());
  if (bytes < kHeaderBytes) {
    throw DataError(path_, "has " + std::to_string(bytes) + " bytes",
                    "at least the " + std::to_string(kHeaderBytes) +
                        " of the header that an llm.c token file has");
  }
  std::int32_t header[3];
  std::memcpy(header, file_.data(), sizeof(header));
  const Variant* variant = variant_of(header[0]);
  if (variant == nullptr) {
    throw DataError(path_, "begins with " + std::to_string(header[0]),
                    "an llm.c token file, which begins with 20240520 or 20240801, or data.format: "
                    "nanogpt for tokens without a header");
  }
  if (header[1] != variant->version) {
    throw DataError(path_, "has version " + std::to_string(header[1]),
                    "version " + std::to_string(variant->version) + " of llm.c's token files");
  }
  header_bytes_ = kHeaderBytes;
  width_ = variant->width;
  size_ = header[2];
  if (size_ < 0 || bytes != kHeaderBytes + size_ * width_) {
    throw DataError(path_, "has " + std::to_string(bytes) + " bytes",
                    std::to_string(kHeaderBytes) + " of its header and " + std::to_string(width_) +
                        " for each of the " + std::to_string(size_) + " tokens that it declares");
  }
}

bool begins_as_llmc(const std::filesystem::path& path) {
  std::int32_t magic = 0;
  std::ifstream stream(path, std::ios::binary);
  stream.read(reinterpret_cast<char*>(&magic), sizeof(magic));
  return stream.gcount() == sizeof(magic) && variant_of(magic) != nullptr;
}

}  // namespace leapverify::data

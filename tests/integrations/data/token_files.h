// Writes small token files and prepared data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace leapverify::data::testing {

/// The bytes of integers, each as `Stored`.
template <class Stored>
std::string packed(const std::vector<std::int64_t>& values) {
  std::string bytes;
  for (const std::int64_t value : values) {
    const auto stored = static_cast<Stored>(value);
    bytes.append(reinterpret_cast<const char*>(&stored), sizeof(stored));
  }
  return bytes;
}

inline std::string llmc_header(std::int64_t magic, std::int64_t version, std::int64_t count) {
  std::vector<std::int64_t> header(256);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  return packed<std::int32_t>(header);
}

inline std::string llmc16(const std::vector<std::int64_t>& tokens) {
  return llmc_header(20240520, 1, static_cast<std::int64_t>(tokens.size())) +
         packed<std::uint16_t>(tokens);
}

inline std::string llmc32(const std::vector<std::int64_t>& tokens) {
  return llmc_header(20240801, 7, static_cast<std::int64_t>(tokens.size())) +
         packed<std::uint32_t>(tokens);
}

/// first, first + 1, …
inline std::vector<std::int64_t> counting(std::int64_t first, std::int64_t count) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < count; ++i) tokens.push_back(first + i);
  return tokens;
}

}  // namespace leapverify::data::testing

// For tests of what readers refuse: malformed files, and what a message must look like.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

namespace leapverify {

/// A safetensors file with this header, followed by so many bytes of data.
inline std::string safetensors_file(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, 'x');
}

/// One line of plain text, short enough to read.
inline ::testing::AssertionResult is_one_clear_line(const std::string& message) {
  const auto plain = [](char c) { return c >= ' ' && c <= '~'; };
  if (std::all_of(message.begin(), message.end(), plain) && message.size() < 600) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << message.size() << " characters: " << message;
}

}  // namespace leapverify

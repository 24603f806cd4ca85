// Tells text from binary junk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace leapverify::data {

/// Why `bytes` are not text, as in "NUL byte at offset 12"; empty when they are well-formed UTF-8
/// (Unicode 15, table 3-7) without NUL bytes.
std::string why_not_text(const std::vector<std::uint8_t>& bytes);

/// `bytes` as a terminal shows them: a replacement character for each that is no part of well-formed
/// UTF-8, and for control characters but tabs and ends of lines.
std::string shown_text(const std::vector<std::uint8_t>& bytes);

/// Drops the last character where the end of `bytes` cuts it.
void drop_cut_character(std::vector<std::uint8_t>& bytes);

}  // namespace leapverify::data

#include <leapverify/integrations/data/utf8.h>

#include <algorithm>

namespace leapverify::data {
namespace {

struct Lead {
  std::uint8_t first, last;
  std::size_t length;
  std::uint8_t second_low, second_high;
};

constexpr Lead kLeads[] = {
    {0x00, 0x7f, 1, 0x80, 0xbf}, {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf},
    {0xe1, 0xec, 3, 0x80, 0xbf}, {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf},
    {0xf0, 0xf0, 4, 0x90, 0xbf}, {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f}};

bool between(std::uint8_t byte, std::uint8_t low, std::uint8_t high) {
  return byte >= low && byte <= high;
}

bool continues(std::uint8_t byte) { return between(byte, 0x80, 0xbf); }

/// Bytes of the character that starts at `start`; 0 when it is ill-formed or cut.
std::size_t character_length(const std::vector<std::uint8_t>& bytes, std::size_t start) {
  for (const Lead& lead : kLeads) {
    if (!between(bytes[start], lead.first, lead.last)) continue;
    if (start + lead.length > bytes.size()) return 0;
    for (std::size_t i = 1; i < lead.length; ++i) {
      const bool well_formed = i == 1 ? between(bytes[start + i], lead.second_low, lead.second_high)
                                      : continues(bytes[start + i]);
      if (!well_formed) return 0;
    }
    return lead.length;
  }
  return 0;
}

}  // namespace

std::string why_not_text(const std::vector<std::uint8_t>& bytes) {
  for (std::size_t position = 0; position < bytes.size();) {
    if (bytes[position] == 0) return "NUL byte at offset " + std::to_string(position);
    const std::size_t length = character_length(bytes, position);
    if (length == 0) return "invalid UTF-8 at offset " + std::to_string(position);
    position += length;
  }
  return "";
}

std::string shown_text(const std::vector<std::uint8_t>& bytes) {
  std::string text;
  for (std::size_t position = 0; position < bytes.size();) {
    const std::size_t length = character_length(bytes, position);
    const std::uint8_t first = bytes[position];
    const bool control = (first < 0x20 && first != '\n' && first != '\t') || first == 0x7f ||
                         (length == 2 && first == 0xc2 && bytes[position + 1] < 0xa0);
    if (length == 0 || control) {
      text += "\xef\xbf\xbd";
      position += std::max<std::size_t>(length, 1);
      continue;
    }
    text.append(bytes.begin() + static_cast<std::ptrdiff_t>(position),
                bytes.begin() + static_cast<std::ptrdiff_t>(position + length));
    position += length;
  }
  return text;
}

void drop_cut_character(std::vector<std::uint8_t>& bytes) {
  if (bytes.empty()) return;
  std::size_t start = bytes.size() - 1;
  while (start > 0 && bytes.size() - start < 4 && continues(bytes[start])) --start;
  if (character_length(bytes, start) == 0) bytes.resize(start);
}

}  // namespace leapverify::data

#include <leapverify/integrations/data/token_run.h>

#include <algorithm>
#include <cstring>

namespace leapverify::data {
namespace {

/// Files need not be aligned to their tokens.
template <class Token>
void widen(const char* data, std::int64_t count, std::int64_t* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    Token token;
    std::memcpy(&token, data + i * static_cast<std::int64_t>(sizeof(Token)), sizeof(Token));
    out[i] = token;
  }
}

}  // namespace

void TokenRun::append(const void* data, std::int64_t count, int width) {
  const std::int64_t begin = size();
  if (count > 0) pieces_.push_back({static_cast<const char*>(data), begin, begin + count, width});
}

void TokenRun::read(std::int64_t begin, std::int64_t count, std::int64_t* out) const {
  auto piece =
      std::upper_bound(pieces_.begin(), pieces_.end(), begin,
                       [](std::int64_t position, const Piece& one) { return position < one.end; });
  for (; count > 0; ++piece) {
    const std::int64_t part = std::min(count, piece->end - begin);
    const char* data = piece->data + (begin - piece->begin) * piece->width;
    if (piece->width == 1) {
      widen<std::uint8_t>(data, part, out);
    } else if (piece->width == 2) {
      widen<std::uint16_t>(data, part, out);
    } else {
      widen<std::uint32_t>(data, part, out);
    }
    begin += part;
    count -= part;
    out += part;
  }
}

}  // namespace leapverify::data

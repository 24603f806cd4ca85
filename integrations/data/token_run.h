// Tokens that lie in several places, seen as one run.
#pragma once

#include <cstdint>
#include <vector>

namespace leapverify::data {

class TokenRun {
 public:
  /// Adds `count` tokens of `width` bytes (1, 2 or 4), which stay where they are.
  void append(const void* data, std::int64_t count, int width);

  std::int64_t size() const { return pieces_.empty() ? 0 : pieces_.back().end; }

  /// Writes tokens begin … begin + count − 1, which must exist.
  void read(std::int64_t begin, std::int64_t count, std::int64_t* out) const;

 private:
  /// Tokens [begin, end) of the run.
  struct Piece {
    const char* data;
    std::int64_t begin, end;
    int width;
  };

  std::vector<Piece> pieces_;
};

}  // namespace leapverify::data

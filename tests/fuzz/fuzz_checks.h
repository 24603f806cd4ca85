// What the fuzz targets hold the readers to.
#pragma once

#include <leapverify/runtime/safetensors.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace leapverify {

/// Ends the process, which libFuzzer takes for a find.
inline void require(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what.c_str());
  std::abort();
}

inline bool same(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const at::Tensor& left = a[i].second;
    const at::Tensor& right = b[i].second;
    const bool alike =
        a[i].first == b[i].first && left.dtype() == right.dtype() && left.sizes() == right.sizes();
    if (!alike) return false;
    const std::size_t bytes = left.nbytes();
    if (bytes > 0 && std::memcmp(left.data_ptr(), right.data_ptr(), bytes) != 0) return false;
  }
  return true;
}

inline void require_one_line(const std::string& message) {
  require(message.size() < 700 && message.find('\n') == std::string::npos,
          "no clear line: " + message);
}

}  // namespace leapverify

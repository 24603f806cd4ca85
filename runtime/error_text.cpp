#include <c10/util/Exception.h>
#include <leapverify/runtime/error_text.h>

#include <algorithm>

namespace leapverify {

std::string error_text(const std::exception& error) {
  const auto* from_torch = dynamic_cast<const c10::Error*>(&error);
  std::string text = from_torch != nullptr ? from_torch->what_without_backtrace() : error.what();
  text = text.substr(0, text.find('\n'));
  // Traces and checkpoints are JSON, so nothing but plain text may pass.
  const auto foreign = [](char c) { return static_cast<unsigned char>(c) >= 0x80 || c < ' '; };
  std::replace_if(text.begin(), text.end(), foreign, '?');
  return text.empty() ? "an error without words" : text;
}

}  // namespace leapverify

// JSON from files that may be damaged or made to do harm. Internal.
#pragma once

#include <leapverify/runtime/durable_files.h>

#include <exception>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace leapverify {

/// The object that `text` holds. Throws FormatError, which begins with `source`, when it holds none
/// or gives a key twice, or when arrays and objects nest deeper than `max_depth`, itself counted:
/// what later walks through it by recursion needs a bound.
nlohmann::json parse_object(std::string_view text, int max_depth, const std::string& source);

/// The beginning of text from a file, as one printable line that is short enough for a message.
std::string excerpt(std::string_view text);

/// What an exception of nlohmann::json says, without its "[json.exception.NAME.NUMBER] ".
std::string json_words(const std::exception& error);

}  // namespace leapverify

#include <leapverify/runtime/strict_json.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace leapverify {
namespace {

using nlohmann::json;

/// Follows the parser, which by itself would take the last of equal keys.
class Strictness {
 public:
  Strictness(int max_depth, const std::string& source) : max_depth_(max_depth), source_(source) {}

  /// `depth` is the number of arrays and objects that are open already.
  void operator()(int depth, json::parse_event_t event, const json& value) {
    if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start) {
      if (depth >= max_depth_) {
        throw FormatError(source_ + ": nested deeper than " + std::to_string(max_depth_));
      }
      keys_.resize(static_cast<std::size_t>(depth) + 1);
      keys_.back().clear();
    }
    if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys_[static_cast<std::size_t>(depth) - 1].insert(key).second) {
        throw FormatError(source_ + ": key '" + excerpt(key) + "' is given twice");
      }
    }
  }

 private:
  int max_depth_;
  const std::string& source_;
  /// Of each object that is open.
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

json parse_object(std::string_view text, int max_depth, const std::string& source) {
  Strictness strictness(max_depth, source);
  const auto check = [&strictness](int depth, json::parse_event_t event, json& value) {
    strictness(depth, event, value);
    return true;
  };
  try {
    json object = json::parse(text, check);
    if (object.is_object()) return object;
  } catch (const json::exception& error) {
    throw FormatError(source + ": not JSON: " + json_words(error));
  }
  throw FormatError(source + ": not a JSON object");
}

std::string excerpt(std::string_view text) {
  constexpr std::size_t kLongest = 200;
  std::string shown(text.substr(0, kLongest));
  const auto foreign = [](char c) { return c < ' ' || c > '~'; };
  std::replace_if(shown.begin(), shown.end(), foreign, '?');
  return text.size() > kLongest ? shown + "..." : shown;
}

std::string json_words(const std::exception& error) {
  const std::string_view text = error.what();
  const std::size_t tag_end = text.find("] ");
  return excerpt(tag_end == text.npos ? text : text.substr(tag_end + 2));
}

}  // namespace leapverify

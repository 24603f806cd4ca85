#include <leapverify/integrations/trainer/yaml_field.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace leapverify::trainer {
namespace {

/// What a user wrote, on one line.
std::string written(const YAML::Node& node) {
  if (node.IsNull()) return "an empty value";
  if (node.IsMap()) return "a group of keys";
  if (node.IsScalar()) {
    std::string text = node.Scalar();
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text.empty() ? "\"\"" : text;
  }
  std::string text;
  for (const YAML::Node& item : node) {
    text += (text.empty() ? "" : ", ") + (item.IsScalar() ? item.Scalar() : "...");
  }
  return "[" + text + "]";
}

/// Every YAML reader takes .inf and 1.0e-08 for numbers, not all take inf and 1e-08.
std::string number_yaml(double value) {
  if (std::isinf(value)) return value > 0 ? ".inf" : "-.inf";
  std::string text = number_text(value);
  const std::size_t exponent = text.find('e');
  if (exponent != std::string::npos && text.find('.') == std::string::npos) {
    text.insert(exponent, ".0");
  }
  return text;
}

std::string text_yaml(const std::string& value) {
  YAML::Emitter emitter;
  emitter << YAML::Flow << YAML::BeginSeq << value << YAML::EndSeq;
  const std::string list = emitter.c_str();
  return list.substr(1, list.size() - 2);
}

template <class Value, class Write>
std::string list_yaml(const std::vector<Value>& values, Write write) {
  std::string text;
  for (const Value& value : values) text += (text.empty() ? "" : ", ") + write(value);
  return "[" + text + "]";
}

template <class Number>
bool read_number(const std::string& text, Number& value) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end;
}

bool read_integer(const YAML::Node& node, const Range& range, std::int64_t& value) {
  std::int64_t read = 0;
  if (!node.IsScalar() || !read_number(node.Scalar(), read)) return false;
  if (!range.contains(static_cast<double>(read))) return false;
  value = read;
  return true;
}

bool read_double(const YAML::Node& node, const Range& range, double& value) {
  if (!node.IsScalar()) return false;
  std::string text = node.Scalar();
  if (text == ".inf" || text == "-.inf") text.erase(text.find('.'), 1);
  double read = 0;
  if (!read_number(text, read) || !range.contains(read)) return false;
  value = read;
  return true;
}

bool read_text(const YAML::Node& node, std::string& value) {
  if (!node.IsScalar()) return false;
  value = node.Scalar();
  return true;
}

bool read_bool(const YAML::Node& node, bool& value) {
  if (!node.IsScalar() || (node.Scalar() != "true" && node.Scalar() != "false")) return false;
  value = node.Scalar() == "true";
  return true;
}

bool read_choice(const YAML::Node& node, const Choice& choice) {
  const std::vector<std::string>& names = choice.names;
  if (!node.IsScalar() || std::find(names.begin(), names.end(), node.Scalar()) == names.end()) {
    return false;
  }
  choice.set(node.Scalar());
  return true;
}

template <class Value, class Read>
bool read_list(const YAML::Node& node, std::vector<Value>& values, Read read) {
  if (!node.IsSequence()) return false;
  std::vector<Value> items;
  for (const YAML::Node& item : node) {
    if (!read(item, items.emplace_back())) return false;
  }
  values = std::move(items);
  return true;
}

std::string one_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 < names.size() ? ", " : " or ";
    text += names[i];
  }
  return text;
}

}  // namespace

void YamlFields::add(const std::string& name, const std::string& legal, const char* meaning,
                     std::function<std::string()> get,
                     std::function<bool(const YAML::Node&)> read) {
  const std::string key = full(name);
  const std::string expected = legal.empty() ? "a text" : legal;
  const auto set = [key, expected, read = std::move(read)](const YAML::Node& node) {
    if (!read(node)) throw InvalidOption(key, written(node), expected);
  };
  fields.push_back({key, legal, meaning, std::move(get), set});
}

void YamlFields::field(const std::string& name, std::int64_t& value, const Range& range,
                       const char* meaning) {
  add(
      name, range.text("an integer"), meaning, [&value] { return std::to_string(value); },
      [&value, range](const YAML::Node& node) { return read_integer(node, range, value); });
}

void YamlFields::field(const std::string& name, double& value, const Range& range,
                       const char* meaning) {
  add(
      name, range.text(), meaning, [&value] { return number_yaml(value); },
      [&value, range](const YAML::Node& node) { return read_double(node, range, value); });
}

void YamlFields::field(const std::string& name, bool& value, const char* meaning) {
  add(
      name, "true or false", meaning, [&value] { return value ? "true" : "false"; },
      [&value](const YAML::Node& node) { return read_bool(node, value); });
}

void YamlFields::field(const std::string& name, std::string& value, const char* meaning) {
  add(
      name, "", meaning, [&value] { return text_yaml(value); },
      [&value](const YAML::Node& node) { return read_text(node, value); });
}

void YamlFields::field(const std::string& name, std::vector<std::int64_t>& value,
                       const Range& range, const char* meaning) {
  const auto write = [](std::int64_t item) { return std::to_string(item); };
  const auto read = [range](const YAML::Node& node, std::int64_t& item) {
    return read_integer(node, range, item);
  };
  add(
      name, "a list, each " + range.text("an integer"), meaning,
      [&value, write] { return list_yaml(value, write); },
      [&value, read](const YAML::Node& node) { return read_list(node, value, read); });
}

void YamlFields::field(const std::string& name, std::vector<std::string>& value,
                       const char* meaning) {
  add(
      name, "a list of texts", meaning, [&value] { return list_yaml(value, text_yaml); },
      [&value](const YAML::Node& node) { return read_list(node, value, read_text); });
}

void YamlFields::field(const std::string& name, const Choice& choice, const char* meaning) {
  add(name, one_of(choice.names), meaning, choice.get,
      [choice](const YAML::Node& node) { return read_choice(node, choice); });
}

}  // namespace leapverify::trainer

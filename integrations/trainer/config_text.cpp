// Writes configs: one YAML layout, with or without what the keys mean.
#include <leapverify/integrations/trainer/config.h>
#include <leapverify/integrations/trainer/yaml_field.h>

#include <algorithm>

namespace leapverify::trainer {
namespace {

constexpr std::size_t kCommentColumn = 34;
constexpr std::size_t kWidth = 110;

std::string group_of(const std::string& name) { return name.substr(0, name.rfind('.')); }

std::string indent_of(const std::string& name) {
  return std::string(2 * static_cast<std::size_t>(std::count(name.begin(), name.end(), '.')), ' ');
}

std::size_t columns(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return (byte & 0xc0) != 0x80; }));
}

/// `line` with `comment` beside it, broken into as many lines as it takes.
std::string with_comment(std::string line, const std::string& comment) {
  std::string result;
  const auto start_comment = [&] {
    if (columns(line) >= kCommentColumn) {
      result += line + "\n";
      line.clear();
    }
    line.append(kCommentColumn - columns(line), ' ');
    line += "#";
  };
  start_comment();
  for (std::size_t begin = 0; begin < comment.size();) {
    const std::size_t end = std::min(comment.find(' ', begin), comment.size());
    const std::string word = comment.substr(begin, end - begin);
    if (columns(line) + 1 + columns(word) > kWidth) {
      result += line + "\n";
      line.clear();
      start_comment();
    }
    line += " " + word;
    begin = end + 1;
  }
  return result + line + "\n";
}

std::vector<std::string> groups_of(const std::vector<YamlField>& fields) {
  std::vector<std::string> groups;
  for (const YamlField& field : fields) {
    const std::string group = group_of(field.name);
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  return groups;
}

std::string write(const std::vector<YamlField>& fields, bool explained) {
  std::string text;
  for (const std::string& group : groups_of(fields)) {
    text += indent_of(group) + last_part(group) + ":\n";
    for (const YamlField& field : fields) {
      if (group_of(field.name) != group) continue;
      const std::string line = indent_of(field.name) + last_part(field.name) + ": " + field.get();
      const std::string legal = field.legal.empty() ? "" : " (" + field.legal + ")";
      text += explained ? with_comment(line, field.meaning + legal) : line + "\n";
    }
  }
  return text;
}

}  // namespace

std::string to_yaml(Config config) { return write(yaml_fields(config), false); }

std::string explain_config() {
  Config defaults;
  return write(yaml_fields(defaults), true);
}

}  // namespace leapverify::trainer

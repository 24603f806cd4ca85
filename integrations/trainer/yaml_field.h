// Described options seen as YAML: each key with ways to read and to write its value.
#pragma once

#include <leapverify/regimes/field.h>
#include <yaml-cpp/yaml.h>

#include <functional>
#include <string>
#include <vector>

namespace leapverify::trainer {

/// Refers into the options it was made from, which must outlive it.
struct YamlField {
  /// Dotted, as in "optimizer.lr".
  std::string name;
  /// As in "a number > 0"; empty when any text will do.
  std::string legal;
  std::string meaning;
  /// The value as YAML.
  std::function<std::string()> get;
  /// Throws InvalidOption and changes nothing when the node is not a legal value.
  std::function<void(const YAML::Node&)> set;
};

/// "lr" of "optimizer.lr".
inline std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

/// Collects the fields in the order of description.
class YamlFields : public FieldVisitor {
 public:
  void field(const std::string& name, std::int64_t& value, const Range& range,
             const char* meaning) override;
  void field(const std::string& name, double& value, const Range& range,
             const char* meaning) override;
  void field(const std::string& name, bool& value, const char* meaning) override;
  void field(const std::string& name, std::string& value, const char* meaning) override;
  void field(const std::string& name, std::vector<std::int64_t>& value, const Range& range,
             const char* meaning) override;
  void field(const std::string& name, std::vector<std::string>& value,
             const char* meaning) override;
  void field(const std::string& name, const Choice& choice, const char* meaning) override;

  std::vector<YamlField> fields;

 private:
  /// `read` returns whether the node is legal.
  void add(const std::string& name, const std::string& legal, const char* meaning,
           std::function<std::string()> get, std::function<bool(const YAML::Node&)> read);
};

template <class Options>
std::vector<YamlField> yaml_fields(Options& options) {
  YamlFields visitor;
  options.describe(visitor);
  return visitor.fields;
}

}  // namespace leapverify::trainer

// How an options struct describes its own fields: name, legal values, meaning, once. Validation,
// config files, help texts and the resolved config of a run are all read off this one description.
#pragma once

#include <leapverify/kernels/error.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace leapverify {

/// An option has a value that is not legal; the message holds field, value and legal values.
class InvalidOption : public Error {
 public:
  InvalidOption(std::string field, std::string value, std::string legal);

  const std::string& field() const { return field_; }
  const std::string& value() const { return value_; }
  const std::string& legal() const { return legal_; }

 private:
  std::string field_, value_, legal_;
};

/// An interval of numbers; an open end is not itself legal. NaN is never contained.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false;
  bool high_open = false;

  bool contains(double value) const;
  /// As in "a number ≥ 1", "a number in (0, 1]" or just "a number", with `noun` for "a number".
  std::string text(const std::string& noun = "a number") const;
};

constexpr Range at_least(double low) { return {low}; }
constexpr Range above(double low) {
  return {low, std::numeric_limits<double>::infinity(), true, false};
}
constexpr Range between(double low, double high) { return {low, high}; }

/// An enumerator and its name in configs and traces.
template <class E>
struct Named {
  E value;
  const char* name;
};

/// Specialised beside each enumeration that options use: `static constexpr Named<E> names[]`.
template <class E>
struct EnumNames;

/// The name of an enumerator.
template <class E>
const char* name_of(E value) {
  for (const Named<E>& entry : EnumNames<E>::names) {
    if (entry.value == value) return entry.name;
  }
  return "?";
}

/// One of a few words, seen through its name.
struct Choice {
  std::vector<std::string> names;
  std::function<std::string()> get;
  /// Given one of `names`.
  std::function<void(const std::string&)> set;
};

/// Visits the fields of an options struct in order. Field names within a group are separated by
/// dots.
class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  virtual void field(const std::string& name, std::int64_t& value, const Range& range,
                     const char* meaning) = 0;
  virtual void field(const std::string& name, double& value, const Range& range,
                     const char* meaning) = 0;
  virtual void field(const std::string& name, bool& value, const char* meaning) = 0;
  virtual void field(const std::string& name, std::string& value, const char* meaning) = 0;
  virtual void field(const std::string& name, std::vector<std::int64_t>& value, const Range& range,
                     const char* meaning) = 0;
  virtual void field(const std::string& name, std::vector<std::string>& value,
                     const char* meaning) = 0;
  virtual void field(const std::string& name, const Choice& choice, const char* meaning) = 0;

  template <class E>
  void choice(const std::string& name, E& value, const char* meaning) {
    Choice choice;
    for (const Named<E>& entry : EnumNames<E>::names) choice.names.emplace_back(entry.name);
    choice.get = [&value] { return std::string(name_of(value)); };
    choice.set = [&value](const std::string& word) {
      for (const Named<E>& entry : EnumNames<E>::names) {
        if (word == entry.name) value = entry.value;
      }
    };
    field(name, choice, meaning);
  }

  /// Visits the fields of a nested struct as "name.field".
  template <class Options>
  void group(const std::string& name, Options& options) {
    const std::string outer = prefix_;
    prefix_ += name + ".";
    options.describe(*this);
    prefix_ = outer;
  }

 protected:
  /// "group.name" of the field being visited.
  std::string full(const std::string& name) const { return prefix_ + name; }

 private:
  std::string prefix_;
};

/// Throws InvalidOption for the first field whose value is not legal.
class FieldValidator : public FieldVisitor {
 public:
  void field(const std::string& name, std::int64_t& value, const Range& range,
             const char* meaning) override;
  void field(const std::string& name, double& value, const Range& range,
             const char* meaning) override;
  void field(const std::string&, bool&, const char*) override {}
  void field(const std::string&, std::string&, const char*) override {}
  void field(const std::string& name, std::vector<std::int64_t>& value, const Range& range,
             const char* meaning) override;
  void field(const std::string&, std::vector<std::string>&, const char*) override {}
  void field(const std::string&, const Choice&, const char*) override {}
};

/// An option by its full name, and what it is set to.
struct FieldText {
  std::string name;
  std::string value;
};

/// Collects all fields as text, in order.
class FieldTexts : public FieldVisitor {
 public:
  void field(const std::string& name, std::int64_t& value, const Range&, const char*) override;
  void field(const std::string& name, double& value, const Range&, const char*) override;
  void field(const std::string& name, bool& value, const char*) override;
  void field(const std::string& name, std::string& value, const char*) override;
  void field(const std::string& name, std::vector<std::int64_t>& value, const Range&,
             const char*) override;
  void field(const std::string& name, std::vector<std::string>& value, const char*) override;
  void field(const std::string& name, const Choice& choice, const char*) override;

  std::vector<FieldText> texts;

 private:
  void add(const std::string& name, std::string value) {
    texts.push_back({full(name), std::move(value)});
  }
};

template <class Options>
std::vector<FieldText> field_texts(Options options) {
  FieldTexts visitor;
  options.describe(visitor);
  return visitor.texts;
}

/// "[a, b]".
std::string list_text(const std::vector<std::string>& items);

/// Checks every field of `options` against its range.
template <class Options>
void validate_fields(Options options) {
  FieldValidator validator;
  options.describe(validator);
}

/// A number as short as it can be read back exactly: 0.05, 1e-08, 25.
std::string number_text(double value);

}  // namespace leapverify

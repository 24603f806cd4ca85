#include <leapverify/regimes/field.h>

#include <charconv>
#include <cmath>
#include <utility>

namespace leapverify {

InvalidOption::InvalidOption(std::string field, std::string value, std::string legal)
    : Error(field + ": " + value + " is not legal, expected " + legal),
      field_(std::move(field)),
      value_(std::move(value)),
      legal_(std::move(legal)) {}

bool Range::contains(double value) const {
  if (std::isnan(value)) return false;
  const bool low_ok = low_open ? value > low : value >= low;
  const bool high_ok = high_open ? value < high : value <= high;
  return low_ok && high_ok;
}

std::string Range::text(const std::string& noun) const {
  const bool has_low = std::isfinite(low);
  const bool has_high = std::isfinite(high);
  if (!has_low && !has_high) return noun;
  if (!has_high) return noun + (low_open ? " > " : " ≥ ") + number_text(low);
  if (!has_low) return noun + (high_open ? " < " : " ≤ ") + number_text(high);
  return noun + " in " + (low_open ? "(" : "[") + number_text(low) + ", " + number_text(high) +
         (high_open ? ")" : "]");
}

std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

std::string list_text(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return "[" + text + "]";
}

void FieldValidator::field(const std::string& name, std::int64_t& value, const Range& range,
                           const char*) {
  if (!range.contains(static_cast<double>(value))) {
    throw InvalidOption(full(name), std::to_string(value), range.text("an integer"));
  }
}

void FieldValidator::field(const std::string& name, double& value, const Range& range,
                           const char*) {
  if (!range.contains(value)) throw InvalidOption(full(name), number_text(value), range.text());
}

void FieldValidator::field(const std::string& name, std::vector<std::int64_t>& value,
                           const Range& range, const char*) {
  for (const std::int64_t item : value) {
    if (!range.contains(static_cast<double>(item))) {
      throw InvalidOption(full(name), std::to_string(item), range.text("an integer"));
    }
  }
}

void FieldTexts::field(const std::string& name, std::int64_t& value, const Range&, const char*) {
  add(name, std::to_string(value));
}

void FieldTexts::field(const std::string& name, double& value, const Range&, const char*) {
  add(name, number_text(value));
}

void FieldTexts::field(const std::string& name, bool& value, const char*) {
  add(name, value ? "true" : "false");
}

void FieldTexts::field(const std::string& name, std::string& value, const char*) {
  add(name, value);
}

void FieldTexts::field(const std::string& name, std::vector<std::int64_t>& value, const Range&,
                       const char*) {
  std::vector<std::string> items;
  items.reserve(value.size());
  for (const std::int64_t item : value) items.push_back(std::to_string(item));
  add(name, list_text(items));
}

void FieldTexts::field(const std::string& name, std::vector<std::string>& value, const char*) {
  add(name, list_text(value));
}

void FieldTexts::field(const std::string& name, const Choice& choice, const char*) {
  add(name, choice.get());
}

}  // namespace leapverify

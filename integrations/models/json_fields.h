// Fields of the JSON objects that Hugging Face's libraries describe models with. Internal.
#pragma once

#include <leapverify/regimes/field.h>
#include <leapverify/runtime/strict_json.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace leapverify::models {

[[noreturn]] inline void refuse(const std::string& source, const std::string& field,
                                const nlohmann::json& value, const std::string& expected) {
  throw FormatError(source + ": " + excerpt(field) + ": " + excerpt(value.dump()) +
                    " is not supported, expected " + expected);
}

/// The value of a field, null where it is missing.
inline nlohmann::json value_of(const nlohmann::json& config, const std::string& field) {
  return config.value(field, nlohmann::json());
}

/// Refuses a field that is there with another value than `only`; null is as good as missing.
inline void require_only(const nlohmann::json& config, const std::string& source,
                         const std::string& field, const nlohmann::json& only) {
  const nlohmann::json value = value_of(config, field);
  if (!value.is_null() && value != only) refuse(source, field, value, only.dump());
}

/// Gives fields that are missing the values that transformers or PEFT gives them.
inline void fill_in(nlohmann::json& config, const nlohmann::json& defaults) {
  for (const auto& [field, value] : defaults.items()) {
    if (value_of(config, field).is_null()) config[field] = value;
  }
}

/// What does not fit into 64 bits, the parser makes a float.
inline bool is_int64(const nlohmann::json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX);
}

inline bool is_number(const nlohmann::json& value) { return value.is_number(); }
inline bool is_switch(const nlohmann::json& value) { return value.is_boolean(); }

/// Takes a field out of `config`. Throws FormatError when it is missing, and InvalidOption when it
/// is not legal.
template <class T, class IsLegal>
T take(nlohmann::json& config, const std::string& source, const std::string& field,
       const char* legal, IsLegal is_legal) {
  const nlohmann::json given = value_of(config, field);
  if (given.is_null()) {
    throw FormatError(source + ": " + field + " is missing, expected " + legal);
  }
  if (!is_legal(given)) throw InvalidOption(field, excerpt(given.dump()), legal);
  config.erase(field);
  return given.get<T>();
}

}  // namespace leapverify::models

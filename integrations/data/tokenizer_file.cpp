#include <leapverify/integrations/data/tokenizer_file.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace leapverify::data {
namespace {

/// Null where there is none.
nlohmann::json vocabulary_of(const std::filesystem::path& file) {
  std::ifstream stream(file);
  const auto tokenizer = nlohmann::json::parse(stream, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json::json_pointer place("/model/vocab");
  return tokenizer.is_object() && tokenizer.contains(place) ? tokenizer[place] : nlohmann::json();
}

}  // namespace

bool vocabularies_differ(const std::filesystem::path& one, const std::filesystem::path& other) {
  const nlohmann::json of_one = vocabulary_of(one);
  const nlohmann::json of_other = vocabulary_of(other);
  return !of_one.is_null() && !of_other.is_null() && of_one != of_other;
}

}  // namespace leapverify::data

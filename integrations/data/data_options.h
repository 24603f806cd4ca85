// Where the text of a run comes from and how it is split.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leapverify::data {

struct DataOptions {
  std::string path;
  std::vector<std::string> extensions;
  std::vector<std::string> exclude = {"__pycache__", "site-packages", "dist-packages",
                                      "node_modules"};
  std::int64_t max_bytes = 16 * 1024 * 1024;
  double gate_share = 0.05;
  double validation_share = 0.05;
  std::int64_t seed = 0;

  /// Throws InvalidOption for the first option that is not legal by itself or beside the others.
  void validate() const;

  void describe(FieldVisitor& visitor);
};

/// The text of a run cannot be used; the message holds the path, what was found and what is legal.
class DataError : public Error {
 public:
  DataError(std::string path, std::string value, std::string legal);

  const std::string& path() const { return path_; }
  const std::string& value() const { return value_; }
  const std::string& legal() const { return legal_; }

 private:
  std::string path_, value_, legal_;
};

}  // namespace leapverify::data

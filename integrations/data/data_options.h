// Where the text or the tokens of a run come from and how they are split.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leapverify::data {

/// What a path holds: text, whose bytes are the tokens, or token files (token_file.h).
enum class DataFormat { kAuto, kBytes, kLlmc, kNanoGpt };

}  // namespace leapverify::data

namespace leapverify {
template <>
struct EnumNames<data::DataFormat> {
  static constexpr Named<data::DataFormat> names[] = {{data::DataFormat::kAuto, "auto"},
                                                      {data::DataFormat::kBytes, "bytes"},
                                                      {data::DataFormat::kLlmc, "llmc"},
                                                      {data::DataFormat::kNanoGpt, "nanogpt"}};
};
}  // namespace leapverify

namespace leapverify::data {

struct DataOptions {
  std::string path;
  DataFormat format = DataFormat::kAuto;
  std::vector<std::string> extensions;
  std::vector<std::string> exclude = {"__pycache__", "site-packages", "dist-packages",
                                      "node_modules"};
  std::int64_t max_bytes = 16 * 1024 * 1024;
  std::vector<std::string> shards;
  std::int64_t document_end = -1;
  double gate_share = 0.05;
  double validation_share = 0.05;
  std::int64_t seed = 0;

  /// Throws InvalidOption for the first option that is not legal by itself or beside the others.
  void validate() const;

  void describe(FieldVisitor& visitor);
};

/// The data of a run cannot be used; the message holds the path, what was found and what is legal.
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

// Token files of others: llm.c's .bin with a header, nanoGPT's without one.
#pragma once

#include <leapverify/integrations/data/data_options.h>
#include <leapverify/runtime/mapped_file.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace leapverify::data {

/// Tokens of one file, mapped into memory, little-endian.
///
/// llmc: 256 int32 (magic, version, number of tokens, then zeros) and the tokens: magic 20240520
/// with version 1 has 16-bit tokens, 20240801 with version 7 has 32-bit ones. nanogpt: nothing but
/// 16-bit tokens. Source: dev/data/data_common.py of karpathy/llm.c, data/*/prepare.py of
/// karpathy/nanoGPT.
class TokenFile {
 public:
  /// `format` is llmc or nanogpt. Throws FileError for a file that cannot be read, DataError for
  /// another magic, version or size, for no tokens, and for llm.c's magic without its format.
  TokenFile(const std::filesystem::path& path, DataFormat format);

  const std::string& path() const { return path_; }
  /// The first token.
  const char* data() const { return file_.data() + header_bytes_; }
  /// Tokens.
  std::int64_t size() const { return size_; }
  /// Bytes of a token, 2 or 4.
  int width() const { return width_; }

 private:
  void read_header();

  std::string path_;
  MappedFile file_;
  std::int64_t header_bytes_ = 0;
  std::int64_t size_ = 0;
  int width_ = 2;
};

/// Whether a file begins with a magic number of llm.c's token files.
bool begins_as_llmc(const std::filesystem::path& path);

}  // namespace leapverify::data

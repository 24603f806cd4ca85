// What scripts/prepare_data.py writes beside the token files: dataset.json and the index of the
// documents (docs/data.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace leapverify::data {

/// A document reaches to the beginning of the next.
struct Document {
  std::int64_t begin = 0;
  /// The first token that counts in the loss; those before it are a prompt.
  std::int64_t counted_from = 0;
};

struct Prepared {
  std::vector<std::string> shards;
  /// Tokens of each shard.
  std::vector<std::int64_t> sizes;
  std::int64_t vocabulary = 0;
  /// "sha256:…" of the tokenizer.json beside it.
  std::string tokenizer;
  /// The token between documents; −1: none.
  std::int64_t document_end = -1;
  /// Whether a training sequence lies within one document.
  bool whole_documents = false;
  std::vector<Document> documents;
};

inline constexpr const char* kDatasetFile = "dataset.json";
inline constexpr const char* kIndexFile = "documents.index";

/// Throws FileError for a file that cannot be read, FormatError for one that is no JSON, DataError
/// for what does not fit together.
Prepared read_prepared(const std::filesystem::path& folder);

}  // namespace leapverify::data

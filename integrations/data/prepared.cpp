#include <leapverify/integrations/data/data_options.h>
#include <leapverify/integrations/data/prepared.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/mapped_file.h>
#include <leapverify/runtime/strict_json.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

namespace leapverify::data {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kVersion = 1;

void check_version(const json& dataset, const std::string& source) {
  const std::int64_t version = dataset.at("version");
  if (version == kVersion) return;
  throw DataError(source, "has version " + std::to_string(version),
                  "version " + std::to_string(kVersion) + " of scripts/prepare_data.py");
}

/// `documents` gets their number.
Prepared from_json(const json& dataset, const std::string& source, std::size_t& documents) {
  Prepared prepared;
  try {
    check_version(dataset, source);
    prepared.vocabulary = dataset.at("vocabulary");
    prepared.tokenizer = dataset.at("tokenizer");
    const json& end = dataset.at("document_end");
    prepared.document_end = end.is_null() ? -1 : end.get<std::int64_t>();
    prepared.whole_documents = dataset.at("whole_documents");
    documents = dataset.at("documents");
    for (const json& shard : dataset.at("shards")) {
      prepared.shards.push_back(shard.at("file"));
      prepared.sizes.push_back(shard.at("tokens"));
    }
  } catch (const json::exception& error) {
    throw DataError(source, "cannot be used: " + json_words(error),
                    "what scripts/prepare_data.py writes");
  }
  for (const std::string& shard : prepared.shards) {
    if (shard == fs::path(shard).filename()) continue;
    throw DataError(source, "has the shard '" + shard + "'", "the name of a file beside it");
  }
  if (prepared.document_end >= prepared.vocabulary) {
    throw DataError(source, "has document_end " + std::to_string(prepared.document_end),
                    "a token below its vocabulary of " + std::to_string(prepared.vocabulary));
  }
  return prepared;
}

/// Pairs of 64-bit integers, little-endian: begin, counted_from.
std::vector<Document> read_index(const fs::path& path, std::size_t count, std::int64_t tokens) {
  const MappedFile file(path);
  if (count == 0 || file.size() != count * sizeof(Document)) {
    throw DataError(path.string(), "has " + std::to_string(file.size()) + " bytes",
                    std::to_string(sizeof(Document)) + " for each of " + std::to_string(count) +
                        " documents, at least one");
  }
  std::vector<Document> documents(count);
  std::memcpy(documents.data(), file.data(), file.size());
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::int64_t end = i + 1 < documents.size() ? documents[i + 1].begin : tokens;
    const auto [begin, counted_from] = documents[i];
    const bool fits = begin < end && end <= tokens && begin <= counted_from && counted_from < end;
    if (fits && (i > 0 || begin == 0)) continue;
    throw DataError(path.string(),
                    "has document " + std::to_string(i) + " from token " + std::to_string(begin) +
                        ", counted from " + std::to_string(counted_from),
                    "documents that begin at 0, ascend and end with the " + std::to_string(tokens) +
                        " tokens, each counted from within it");
  }
  return documents;
}

}  // namespace

Prepared read_prepared(const fs::path& folder) {
  const std::string source = (folder / kDatasetFile).string();
  std::size_t documents = 0;
  Prepared prepared = from_json(parse_object(read_file(source), 8, source), source, documents);
  const std::int64_t tokens =
      std::accumulate(prepared.sizes.begin(), prepared.sizes.end(), std::int64_t{0});
  prepared.documents = read_index(folder / kIndexFile, documents, tokens);
  return prepared;
}

}  // namespace leapverify::data

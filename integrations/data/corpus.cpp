#include <leapverify/integrations/data/corpus.h>
#include <leapverify/integrations/data/documents.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <utility>

namespace leapverify::data {
namespace {

constexpr std::int64_t kByteValues = 256;

namespace fs = std::filesystem;

constexpr std::int64_t kGpt2DocumentEnd = 50256;

using Paths = std::vector<fs::path>;

Corpus text_corpus(const DataOptions& options) {
  Documents documents = load_documents(options);
  Corpus corpus;
  corpus.bytes = std::move(documents.bytes);
  corpus.tokens.append(corpus.bytes.data(), static_cast<std::int64_t>(corpus.bytes.size()), 1);
  for (const std::int64_t start : documents.starts) corpus.documents.push_back({start, start});
  corpus.validation_from = corpus.tokens.size();
  corpus.unit = "bytes";
  corpus.why_one_document = "it is one file";
  corpus.files = documents.files;
  corpus.binary_files = documents.binary_files;
  corpus.unreadable = documents.unreadable;
  corpus.files_left_out = documents.files_left_out;
  return corpus;
}

/// Whether "val" stands in a file's name as a word of its own.
bool is_validation(const fs::path& path) {
  std::string word;
  for (const char letter : path.filename().string() + ".") {
    if (std::isalnum(static_cast<unsigned char>(letter)) != 0) {
      word += letter;
    } else {
      if (word == "val") return true;
      word.clear();
    }
  }
  return false;
}

Paths bin_files(const fs::path& folder) {
  Paths paths;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (entry->path().extension() == ".bin") paths.push_back(entry->path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Paths token_paths(const DataOptions& options) {
  std::error_code error;
  if (!fs::is_directory(options.path, error)) return {options.path};
  if (options.shards.empty()) {
    Paths paths = bin_files(options.path);
    if (paths.empty()) {
      throw DataError(options.path, "holds no token files", "files that end in .bin");
    }
    return paths;
  }
  Paths paths;
  for (const std::string& name : options.shards) paths.push_back(fs::path(options.path) / name);
  return paths;
}

void open_files(const Paths& paths, DataFormat format, Corpus& corpus) {
  for (const fs::path& path : paths) {
    corpus.token_files.push_back(std::make_unique<TokenFile>(path, format));
    const TokenFile& file = *corpus.token_files.back();
    corpus.tokens.append(file.data(), file.size(), file.width());
  }
  corpus.unit = "tokens";
  corpus.files = static_cast<std::int64_t>(paths.size());
  corpus.validation_from = corpus.tokens.size();
}

/// Calls visit(position in the run, token) for all tokens; those outside the vocabulary are
/// refused.
void scan(const Corpus& corpus, std::int64_t vocabulary,
          const std::function<void(std::int64_t, std::int64_t)>& visit) {
  constexpr std::int64_t kPart = 1 << 16;
  std::vector<std::int64_t> part(kPart);
  std::int64_t file_begin = 0;
  for (const auto& file : corpus.token_files) {
    for (std::int64_t begin = 0; begin < file->size(); begin += kPart) {
      const std::int64_t count = std::min(kPart, file->size() - begin);
      corpus.tokens.read(file_begin + begin, count, part.data());
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t token = part[static_cast<std::size_t>(i)];
        if (token >= vocabulary) {
          throw DataError(
              file->path(),
              "has token " + std::to_string(token) + " at position " + std::to_string(begin + i),
              "tokens below the model's vocabulary of " + std::to_string(vocabulary));
        }
        visit(file_begin + begin + i, token);
      }
    }
    file_begin += file->size();
  }
}

/// llm.c begins documents with the token, nanoGPT ends them with it; the first token tells which, and
/// `origin` says what it told. Taken wrongly, each document would have its neighbour's token.
void find_documents(std::int64_t vocabulary, Corpus& corpus) {
  std::int64_t first = -1;
  corpus.tokens.read(0, 1, &first);
  const std::int64_t shift = first == corpus.document_end ? 0 : 1;
  std::vector<Document>& documents = corpus.documents;
  const auto begin_at = [&documents](std::int64_t position) {
    if (documents.empty() || documents.back().begin < position) {
      documents.push_back({position, position});
    }
  };
  begin_at(0);
  bool found = false;
  scan(corpus, vocabulary, [&](std::int64_t position, std::int64_t token) {
    if (position == corpus.validation_from) begin_at(position);
    if (token != corpus.document_end) return;
    found = true;
    if (position + shift < corpus.tokens.size()) begin_at(position + shift);
  });
  corpus.why_one_document = corpus.document_end < 0
                                ? "data.document_end is not set"
                                : "token " + std::to_string(corpus.document_end) +
                                      " (data.document_end) " +
                                      (found ? "ends one document only" : "does not occur");
  if (found) {
    corpus.origin = std::string("documents ") + (shift == 0 ? "begin" : "end") + " with token " +
                    std::to_string(corpus.document_end);
  } else {
    corpus.document_end = -1;
  }
}

Corpus plain_token_corpus(const DataOptions& options, DataFormat format, std::int64_t vocabulary) {
  Paths paths = token_paths(options);
  const auto validation = std::stable_partition(
      paths.begin(), paths.end(), [](const fs::path& path) { return !is_validation(path); });
  const auto training_files = static_cast<std::size_t>(validation - paths.begin());
  Corpus corpus;
  open_files(paths, format, corpus);
  if (training_files > 0) {
    corpus.validation_from = 0;
    for (std::size_t i = 0; i < training_files; ++i) {
      corpus.validation_from += corpus.token_files[i]->size();
    }
  }
  const bool narrow = corpus.token_files.front()->width() == 2;
  const bool given = options.document_end >= 0;
  corpus.document_end = given ? options.document_end : narrow ? kGpt2DocumentEnd : -1;
  find_documents(vocabulary, corpus);
  return corpus;
}

Corpus prepared_corpus(const DataOptions& options, std::int64_t vocabulary) {
  const fs::path folder = options.path;
  const std::string source = (folder / kDatasetFile).string();
  Prepared prepared = read_prepared(folder);
  if (!options.shards.empty()) {
    throw DataError("data.shards", "names shards", "[]: " + source + " names them");
  }
  if (prepared.vocabulary > vocabulary) {
    throw DataError(source, "has a vocabulary of " + std::to_string(prepared.vocabulary),
                    "at most the model's, which is " + std::to_string(vocabulary));
  }
  Corpus corpus;
  Paths paths;
  for (const std::string& name : prepared.shards) paths.push_back(folder / name);
  open_files(paths, DataFormat::kLlmc, corpus);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const TokenFile& file = *corpus.token_files[i];
    if (file.size() == prepared.sizes[i]) continue;
    throw DataError(file.path(), "has " + std::to_string(file.size()) + " tokens",
                    "the " + std::to_string(prepared.sizes[i]) + " of " + source);
  }
  scan(corpus, vocabulary, [](std::int64_t, std::int64_t) {});
  corpus.documents = std::move(prepared.documents);
  corpus.whole_documents = prepared.whole_documents;
  corpus.document_end = prepared.document_end;
  corpus.why_one_document = "it is one document";
  corpus.origin =
      "vocabulary of " + std::to_string(prepared.vocabulary) + ", tokenizer " + prepared.tokenizer;
  return corpus;
}

bool is_prepared(const fs::path& path) {
  std::error_code error;
  return fs::exists(path / kDatasetFile, error);
}

DataFormat format_of(const DataOptions& options) {
  if (options.format != DataFormat::kAuto) return options.format;
  const fs::path path = options.path;
  std::error_code error;
  const bool folder = fs::is_directory(path, error);
  if (is_prepared(path)) return DataFormat::kLlmc;
  const Paths paths = folder ? bin_files(path) : Paths{path};
  if (std::any_of(paths.begin(), paths.end(), begins_as_llmc)) return DataFormat::kLlmc;
  const bool nano = std::any_of(paths.begin(), paths.end(), [](const fs::path& file) {
    return file.filename() == "train.bin" || file.filename() == "val.bin";
  });
  return nano ? DataFormat::kNanoGpt : DataFormat::kBytes;
}

}  // namespace

Corpus load_corpus(const DataOptions& options, std::int64_t vocabulary) {
  options.validate();
  const DataFormat format = format_of(options);
  if (format == DataFormat::kBytes) {
    if (vocabulary < kByteValues) {
      throw DataError("data.format",
                      "bytes for a model with a vocabulary of " + std::to_string(vocabulary),
                      "a vocabulary of at least 256, one for each byte");
    }
    return text_corpus(options);
  }
  if (options.path.empty()) throw DataError("data.path", "is not set", "token files");
  if (format == DataFormat::kLlmc && is_prepared(options.path)) {
    return prepared_corpus(options, vocabulary);
  }
  return plain_token_corpus(options, format, vocabulary);
}

}  // namespace leapverify::data

// All that a run reads, of whatever format: tokens one after the other, and where documents begin.
#pragma once

#include <leapverify/integrations/data/data_options.h>
#include <leapverify/integrations/data/prepared.h>
#include <leapverify/integrations/data/token_file.h>
#include <leapverify/integrations/data/token_run.h>

#include <memory>
#include <string>
#include <vector>

namespace leapverify::data {

struct Corpus {
  Corpus() = default;
  Corpus(Corpus&&) = default;
  Corpus& operator=(Corpus&&) = default;

  TokenRun tokens;
  /// Ascending, the first at 0.
  std::vector<Document> documents;
  /// Tokens from here on, which begin a document, are the validation split; the size where there
  /// are none of its own.
  std::int64_t validation_from = 0;
  /// Whether a training sequence lies within one document.
  bool whole_documents = false;
  /// Ends documents, and begins what the model writes; −1: there is none.
  std::int64_t document_end = -1;

  /// What a token is, "bytes" or "tokens".
  std::string unit;
  /// Why there would be one document only, as in "it is one file".
  std::string why_one_document;
  /// What is known of the tokens: vocabulary and tokenizer, or the token between documents.
  std::string origin;
  std::int64_t files = 0, binary_files = 0, unreadable = 0, files_left_out = 0;

  /// What `tokens` points to.
  std::vector<std::uint8_t> bytes;
  std::vector<std::unique_ptr<TokenFile>> token_files;
};

/// Reads text or token files, as options.format says. Throws FileError, FormatError or DataError
/// for files that are not what their format allows, and DataError where a token, or the vocabulary
/// that the data were prepared with, is not within the model's `vocabulary`.
///
/// Of a folder of token files without a dataset.json those with the word "val" in their names, as
/// in val.bin or fineweb_val_000000.bin, are the validation split, if there are others.
Corpus load_corpus(const DataOptions& options, std::int64_t vocabulary);

}  // namespace leapverify::data

// Reads a file, or the text files below a folder, into one run of bytes.
#pragma once

#include <leapverify/integrations/data/data_options.h>

#include <cstdint>
#include <vector>

namespace leapverify::data {

struct Documents {
  /// All documents one after the other, nothing between them.
  std::vector<std::uint8_t> bytes;
  /// Where each of them begins in `bytes`.
  std::vector<std::int64_t> starts;
  /// Files that are in `bytes`; the last one may be cut at max_bytes.
  std::int64_t files = 0;
  /// Passed by: a NUL byte or invalid UTF-8.
  std::int64_t binary_files = 0;
  /// Passed by: files and folders that could not be opened, links that lead nowhere.
  std::int64_t unreadable = 0;
  /// Not opened, because max_bytes were reached.
  std::int64_t files_left_out = 0;
};

/// Below a folder, hidden files and folders and those in `exclude` are passed by; links to files
/// are followed, links to folders are not; a file that is reached twice is read once. The order of
/// the documents follows from their relative paths and the seed alone. A file given directly is
/// read whatever its name. Throws DataError for a path that does not exist, an empty or a binary
/// file, and a folder without text.
Documents load_documents(const DataOptions& options);

}  // namespace leapverify::data

// The trace: one JSON object a line for every decision, with the numbers it was taken on. The
// schema is described in docs/trace.md.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>

namespace leapverify {

/// Version of the schema; the first event of every trace carries it.
inline constexpr int kTraceSchema = 2;

/// Takes one event: a JSON object without a line break.
using TraceSink = std::function<void(const std::string& event)>;

/// A file of events, one a line, each flushed when written.
class TraceFile {
 public:
  /// Opens for appending after cutting the file to `bytes`; a file that is shorter is left as it
  /// is, with a warning on stderr. Throws FileError.
  explicit TraceFile(const std::filesystem::path& path, std::int64_t bytes = 0);
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  /// A write that fails, as on a full disk, is reported once on stderr and does not end the run.
  void write(const std::string& event);

  /// Waits until the disk holds all that was written, as a checkpoint that counts on it needs.
  void sync();

  /// Bytes written so far, those before opening included.
  std::int64_t bytes() const { return bytes_; }

 private:
  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
  std::int64_t bytes_ = 0;
  bool failed_ = false;
};

}  // namespace leapverify

#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/trace.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace leapverify {

namespace fs = std::filesystem;

TraceFile::TraceFile(const fs::path& path, std::int64_t bytes) : path_(path), bytes_(bytes) {
  std::error_code error;
  if (bytes > 0) {
    const std::uintmax_t size = fs::file_size(path, error);
    const auto known = error ? 0 : static_cast<std::int64_t>(size);
    if (known < bytes) {
      std::fprintf(stderr, "leapverify: %s: lines are missing before the checkpoint\n",
                   path.c_str());
      bytes_ = known;
    } else {
      fs::resize_file(path, static_cast<std::uintmax_t>(bytes), error);
      if (error) throw FileError(path.string() + ": cannot cut: " + error.message());
    }
  }
  file_ = std::fopen(path.c_str(), bytes > 0 ? "ab" : "wb");
  if (file_ == nullptr) {
    throw FileError(path.string() + ": cannot open: " + std::strerror(errno));
  }
}

TraceFile::~TraceFile() {
  if (file_ != nullptr) std::fclose(file_);
}

void TraceFile::sync() { ::fsync(::fileno(file_)); }

void TraceFile::write(const std::string& event) {
  const std::string line = event + "\n";
  const bool written =
      std::fwrite(line.data(), 1, line.size(), file_) == line.size() && std::fflush(file_) == 0;
  if (written) {
    bytes_ += static_cast<std::int64_t>(line.size());
  } else if (!failed_) {
    failed_ = true;
    std::fprintf(stderr, "leapverify: %s: cannot write: %s; training goes on\n", path_.c_str(),
                 std::strerror(errno));
  }
}

}  // namespace leapverify

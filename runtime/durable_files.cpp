#include <fcntl.h>
#include <leapverify/runtime/durable_files.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

namespace leapverify {
namespace {

namespace fs = std::filesystem;

FileFaultHook& fault_hook() {
  static FileFaultHook hook;
  return hook;
}

void before(const char* operation, const fs::path& path) {
  if (fault_hook()) fault_hook()(operation, path);
}

[[noreturn]] void fail(const char* operation, const fs::path& path) {
  throw FileError(path.string() + ": cannot " + operation + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags)
      : path_(path), value_(::open(path.c_str(), flags, 0666)) {
    if (value_ < 0) fail("open", path);
  }
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void write(const std::string& bytes) {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = ::write(value_, bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno != EINTR) fail("write", path_);
      if (count > 0) done += static_cast<std::size_t>(count);
    }
  }

  void sync() {
    before("sync", path_);
    if (::fsync(value_) != 0) fail("sync", path_);
  }

 private:
  fs::path path_;
  int value_;
};

void sync_folder(const fs::path& folder) {
  Descriptor(folder.empty() ? fs::path(".") : folder, O_RDONLY | O_DIRECTORY).sync();
}

void rename_over(const fs::path& from, const fs::path& to) {
  before("rename", to);
  std::error_code error;
  fs::rename(from, to, error);
  if (error) throw FileError(to.string() + ": cannot rename: " + error.message());
}

}  // namespace

void write_synced(const fs::path& path, const std::string& bytes) {
  before("write", path);
  Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
  file.write(bytes);
  file.sync();
}

void replace_file(const fs::path& path, const std::string& bytes) {
  fs::path temporary = path;
  temporary += ".tmp";
  write_synced(temporary, bytes);
  rename_over(temporary, path);
  sync_folder(path.parent_path());
}

void publish_folder(const fs::path& temporary, const fs::path& final_name) {
  sync_folder(temporary);
  rename_over(temporary, final_name);
  sync_folder(final_name.parent_path());
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("open", path);
  std::ostringstream contents;
  contents << file.rdbuf();
  if (file.bad()) fail("read", path);
  return std::move(contents).str();
}

void set_file_fault_hook(FileFaultHook hook) { fault_hook() = std::move(hook); }

}  // namespace leapverify

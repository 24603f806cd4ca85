#include <fcntl.h>
#include <leapverify/runtime/durable_files.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace leapverify {
namespace {

namespace fs = std::filesystem;

FileFaultHook& fault_hook() {
  static FileFaultHook hook;
  return hook;
}

[[noreturn]] void fail(const char* operation, const fs::path& path) {
  throw FileError(path.string() + ": cannot " + operation + ": " + std::strerror(errno));
}

/// Makes a system call that changes the disk and returns its result, which is not negative.
template <class Call>
auto change(const FileOperation& operation, Call call) {
  if (fault_hook()) {
    errno = fault_hook()(operation);
    if (errno != 0) fail(operation.name, operation.path);
  }
  const auto result = call();
  if (result < 0) fail(operation.name, operation.path);
  return result;
}

class Descriptor {
 public:
  static Descriptor for_reading(const fs::path& path) {
    const int value = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (value < 0) fail("open", path);
    return {path, value};
  }
  static Descriptor for_writing(const fs::path& path) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    return {path, change({"create", path}, [&] { return ::open(path.c_str(), kFlags, 0666); })};
  }
  ~Descriptor() { ::close(value_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = change({"write", path_, bytes}, [&] {
        const ssize_t written = ::write(value_, bytes.data(), bytes.size());
        return written < 0 && errno == EINTR ? 0 : written;
      });
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }

  void sync() {
    change({"sync", path_}, [&] { return ::fsync(value_); });
  }

  std::string read() {
    struct stat status = {};
    if (::fstat(value_, &status) != 0) fail("read", path_);
    std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
    std::size_t done = 0;
    ssize_t count = 1;
    while (done < bytes.size() && count != 0) {
      count = ::read(value_, bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno != EINTR) fail("read", path_);
      done += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    }
    bytes.resize(done);
    return bytes;
  }

 private:
  Descriptor(fs::path path, int value) : path_(std::move(path)), value_(value) {}

  fs::path path_;
  int value_;
};

void sync_folder(const fs::path& folder) {
  Descriptor::for_reading(folder.empty() ? fs::path(".") : folder).sync();
}

}  // namespace

void create_folder(const fs::path& path) {
  change({"create", path}, [&] { return ::mkdir(path.c_str(), 0777); });
}

void create_folders(const fs::path& path) {
  std::error_code ignored;
  if (path.empty() || fs::exists(path, ignored)) return;
  create_folders(path.parent_path());
  // A path that ends in a slash is its own parent's.
  if (!path.has_filename()) return;
  create_folder(path);
  sync_folder(path.parent_path());
}

void write_synced(const fs::path& path, const std::string& bytes) {
  Descriptor file = Descriptor::for_writing(path);
  file.write(bytes);
  file.sync();
}

void replace_file(const fs::path& path, const std::string& bytes) {
  fs::path temporary = path;
  temporary += ".tmp";
  write_synced(temporary, bytes);
  rename_unsynced(temporary, path);
  sync_folder(path.parent_path());
}

void publish_folder(const fs::path& temporary, const fs::path& final_name) {
  sync_folder(temporary);
  rename_unsynced(temporary, final_name);
  sync_folder(final_name.parent_path());
}

void rename_unsynced(const fs::path& from, const fs::path& to) {
  change({"rename", to}, [&] { return std::rename(from.c_str(), to.c_str()); });
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(fs::symlink_status(path, error))) {
    for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
      remove_tree(entry.path());
    }
  }
  change({"remove", path}, [&] { return std::remove(path.c_str()); });
}

std::string read_file(const fs::path& path) { return Descriptor::for_reading(path).read(); }

void set_file_fault_hook(FileFaultHook hook) { fault_hook() = std::move(hook); }

}  // namespace leapverify

#include <fcntl.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/mapped_file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace leapverify {
namespace {

/// Maps an open file and closes it; returns 0 or the errno of what failed.
int map_and_close(int descriptor, char** data, std::size_t* size) {
  int error = 0;
  struct stat status = {};
  if (::fstat(descriptor, &status) != 0) {
    error = errno;
  } else if (!S_ISREG(status.st_mode)) {
    error = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
  } else if (status.st_size > 0) {  // nothing cannot be mapped
    const auto length = static_cast<std::size_t>(status.st_size);
    void* begin =
        ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, 0);
    if (begin == MAP_FAILED) {
      error = errno;
    } else {
      *data = static_cast<char*>(begin);
      *size = length;
    }
  }
  ::close(descriptor);
  return error;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int error = descriptor < 0 ? errno : map_and_close(descriptor, &data_, &size_);
  if (error != 0) {
    throw FileError(path.string() + ": cannot " + (descriptor < 0 ? "open" : "map") + ": " +
                    std::strerror(error));
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace leapverify

// A file seen as memory: its bytes are read from the disk when they are looked at, and need no
// memory that the system could not take back.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace leapverify {

class MappedFile {
 public:
  /// Throws FileError.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  /// What is written here changes this process's view alone, never the file. Another process that
  /// shortens the file ends this one with SIGBUS when the lost bytes are looked at.
  char* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::string_view bytes() const { return {data_, size_}; }

 private:
  char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace leapverify

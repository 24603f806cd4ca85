// Files that survive a crash: what is under its final name is complete.
#pragma once

#include <leapverify/kernels/error.h>

#include <filesystem>
#include <functional>
#include <string>

namespace leapverify {

/// A file or folder could not be read or written; the message holds the path and the system's
/// words.
class FileError : public Error {
 public:
  using Error::Error;
};

/// A file is not what its format allows; the message is one line that says where.
class FormatError : public Error {
 public:
  using Error::Error;
};

/// Writes and fsyncs a file that need not be complete if the process dies meanwhile.
void write_synced(const std::filesystem::path& path, const std::string& bytes);

/// Writes beside `path`, fsyncs, renames over `path`, fsyncs the folder: at every moment `path`
/// holds either its old or its new contents.
void replace_file(const std::filesystem::path& path, const std::string& bytes);

/// Renames a complete folder to its final name and fsyncs both.
void publish_folder(const std::filesystem::path& temporary,
                    const std::filesystem::path& final_name);

std::string read_file(const std::filesystem::path& path);

/// Called before every system call that changes the disk, with its name and path; a test makes the
/// process "die" there by throwing. Null by default.
using FileFaultHook = std::function<void(const char* operation, const std::filesystem::path& path)>;
void set_file_fault_hook(FileFaultHook hook);

}  // namespace leapverify

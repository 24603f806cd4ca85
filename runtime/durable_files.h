// Files that survive a crash: what is under its final name is complete.
#pragma once

#include <leapverify/kernels/error.h>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace leapverify {

/// A file or folder could not be read or written; the message is one line with the path and the
/// system's words.
class FileError : public Error {
 public:
  using Error::Error;
};

/// A file is not what its format allows; the message is one line that says where.
class FormatError : public Error {
 public:
  using Error::Error;
};

/// Makes a folder that need not survive. Throws FileError when it exists.
void create_folder(const std::filesystem::path& path);

/// Makes a folder and all above it that are missing, and fsyncs those they lie in; does nothing
/// when it exists.
void create_folders(const std::filesystem::path& path);

/// Writes and fsyncs a file that need not be complete if the process dies meanwhile.
void write_synced(const std::filesystem::path& path, const std::string& bytes);

/// Writes beside `path`, fsyncs, renames over `path`, fsyncs the folder: at every moment `path`
/// holds either its old or its new contents.
void replace_file(const std::filesystem::path& path, const std::string& bytes);

/// Renames a complete folder to its final name and fsyncs both.
void publish_folder(const std::filesystem::path& temporary,
                    const std::filesystem::path& final_name);

/// Renames without fsync, for what is about to be removed.
void rename_unsynced(const std::filesystem::path& from, const std::filesystem::path& to);

/// Removes a file, or a folder with all that is in it; a process that dies meanwhile leaves a part.
void remove_tree(const std::filesystem::path& path);

std::string read_file(const std::filesystem::path& path);

/// A system call that is about to change the disk.
struct FileOperation {
  /// "create", "write", "sync", "rename" or "remove".
  const char* name;
  /// For "rename" the new name.
  const std::filesystem::path& path;
  /// What "write" is about to append to the file.
  std::string_view bytes = {};
};

/// Called before every system call that changes the disk. Other than 0, what it returns is the
/// errno with which the call fails instead of being made. A test may also end the process there, or
/// write a part of the bytes itself. Null by default.
using FileFaultHook = std::function<int(const FileOperation& operation)>;
void set_file_fault_hook(FileFaultHook hook);

}  // namespace leapverify

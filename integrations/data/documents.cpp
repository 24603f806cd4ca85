#include <leapverify/integrations/data/documents.h>
#include <leapverify/integrations/data/random.h>
#include <leapverify/integrations/data/utf8.h>
#include <leapverify/integrations/text_ends.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>

namespace leapverify::data {
namespace {

namespace fs = std::filesystem;

/// At most `limit` bytes of a file; nothing when it cannot be read.
std::optional<std::vector<std::uint8_t>> read_bytes(const fs::path& path, std::int64_t limit) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return std::nullopt;
  std::error_code error;
  const auto size = static_cast<std::int64_t>(
      std::min<std::uintmax_t>(fs::file_size(path, error), static_cast<std::uintmax_t>(limit)));
  if (error) return std::nullopt;
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  stream.read(reinterpret_cast<char*>(bytes.data()), size);
  if (stream.gcount() != size) return std::nullopt;
  if (stream.peek() != std::ifstream::traits_type::eof()) drop_cut_character(bytes);
  return bytes;
}

/// Collects the files below a folder, as paths relative to it.
class FileList {
 public:
  explicit FileList(const DataOptions& options) : options_(options), root_(options.path) {
    visit("");
    order();
  }

  const std::vector<fs::path>& files() const { return files_; }
  std::int64_t unreadable() const { return unreadable_; }

 private:
  void visit(const fs::path& folder) {
    std::error_code error;
    fs::directory_iterator entry(root_ / folder, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
      add(*entry, folder / entry->path().filename());
    }
    if (error) ++unreadable_;
  }

  void add(const fs::directory_entry& entry, const fs::path& relative) {
    const std::string name = relative.filename().string();
    if (name.front() == '.') return;
    std::error_code error;
    const fs::file_status status = entry.status(error);
    if (fs::is_directory(status)) {
      const std::vector<std::string>& excluded = options_.exclude;
      const bool passed_by = std::find(excluded.begin(), excluded.end(), name) != excluded.end();
      if (!passed_by && !entry.is_symlink()) visit(relative);
    } else if (wanted(name)) {
      if (fs::is_regular_file(status)) {
        files_.push_back(relative);
      } else if (!fs::exists(status)) {
        ++unreadable_;
      }
    }
  }

  bool wanted(const std::string& name) const {
    const std::vector<std::string>& endings = options_.extensions;
    return endings.empty() ||
           std::any_of(endings.begin(), endings.end(),
                       [&](const std::string& ending) { return ends_with(name, ending); });
  }

  /// Puts the files in the seeded order and drops those reached before under another name.
  void order() {
    std::vector<std::pair<std::uint64_t, std::string>> keyed;
    for (const fs::path& file : files_) {
      const std::string relative = file.generic_string();
      const std::uint64_t hash = hash_bytes(reinterpret_cast<const std::uint8_t*>(relative.data()),
                                            static_cast<std::int64_t>(relative.size()));
      keyed.emplace_back(random_word(options_.seed, Draw::kDocumentOrder, hash), relative);
    }
    std::sort(keyed.begin(), keyed.end());
    files_.clear();
    std::set<fs::path> seen;
    for (const auto& [key, relative] : keyed) {
      std::error_code error;
      const bool first = seen.insert(fs::canonical(root_ / relative, error)).second;
      if (first || error) files_.push_back(relative);
    }
  }

  const DataOptions& options_;
  fs::path root_;
  std::vector<fs::path> files_;
  std::int64_t unreadable_ = 0;
};

Documents load_file(const DataOptions& options) {
  Documents documents;
  const auto bytes = read_bytes(options.path, options.max_bytes);
  if (!bytes) throw DataError(options.path, "cannot be read", "a readable text file");
  if (bytes->empty()) throw DataError(options.path, "is empty", "a file with text");
  const std::string junk = why_not_text(*bytes);
  if (!junk.empty()) {
    throw DataError(options.path, "is not text: " + junk,
                    "UTF-8 without NUL bytes (or data.format: llmc or nanogpt, for token files)");
  }
  documents.bytes = *bytes;
  documents.starts = {0};
  documents.files = 1;
  return documents;
}

std::string wanted_files(const DataOptions& options) {
  std::string endings;
  for (const std::string& ending : options.extensions) {
    endings += (endings.empty() ? " ending in " : " or ") + ending;
  }
  return "at least one text file" + endings;
}

Documents load_folder(const DataOptions& options) {
  Documents documents;
  const FileList list(options);
  documents.unreadable = list.unreadable();
  std::vector<std::uint8_t>& all = documents.bytes;
  for (const fs::path& file : list.files()) {
    const std::int64_t room = options.max_bytes - static_cast<std::int64_t>(all.size());
    const auto bytes =
        room > 0 ? read_bytes(fs::path(options.path) / file, room) : std::vector<std::uint8_t>();
    if (room <= 0) {
      ++documents.files_left_out;
    } else if (!bytes) {
      ++documents.unreadable;
    } else if (!why_not_text(*bytes).empty()) {
      ++documents.binary_files;
    } else if (!bytes->empty()) {
      ++documents.files;
      documents.starts.push_back(static_cast<std::int64_t>(all.size()));
      all.insert(all.end(), bytes->begin(), bytes->end());
    }
  }
  if (all.empty()) {
    throw DataError(options.path, "holds no text",
                    wanted_files(options) +
                        " (passed by: " + std::to_string(documents.binary_files) + " binary, " +
                        std::to_string(documents.unreadable) + " unreadable)");
  }
  return documents;
}

}  // namespace

Documents load_documents(const DataOptions& options) {
  options.validate();
  const std::string expected = "a text file, a folder of text files, or token files";
  if (options.path.empty()) throw DataError("data.path", "is not set", expected);
  std::error_code error;
  const fs::file_status status = fs::status(options.path, error);
  if (fs::is_directory(status)) return load_folder(options);
  if (fs::is_regular_file(status)) return load_file(options);
  if (!fs::exists(status)) throw DataError(options.path, "does not exist", expected);
  throw DataError(options.path, "is neither a file nor a folder", expected);
}

}  // namespace leapverify::data

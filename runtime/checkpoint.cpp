#include <leapverify/kernels/checksum.h>
#include <leapverify/runtime/checkpoint.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/strict_json.h>

#include <algorithm>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

namespace leapverify {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kPointer = "latest";
constexpr const char* kDigests = "digests";
constexpr const char* kState = "state.json";
constexpr int kStateDepth = 64;
constexpr const char* kPrefix = "step-";
/// A checkpoint that is being written or removed.
constexpr const char* kIncomplete = ".tmp";
/// A complete checkpoint that waits while another of the same step takes its name.
constexpr const char* kSetAside = ".old";

std::string folder_name(std::int64_t step) { return kPrefix + std::to_string(step); }

fs::path with(fs::path path, const char* suffix) { return path += suffix; }

/// The step of a complete checkpoint's folder.
std::optional<std::int64_t> step_of(const std::string& name) {
  const std::string prefix = kPrefix;
  if (name.rfind(prefix, 0) != 0) return std::nullopt;
  std::int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto result = std::from_chars(name.data() + prefix.size(), end, step);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return step;
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    entries.push_back(entry.path());
  }
  if (error) throw FileError(folder.string() + ": cannot list: " + error.message());
  return entries;
}

/// What cannot be removed takes room, and does no other harm.
template <class Removal>
void try_to(Removal removal) {
  try {
    removal();
  } catch (const FileError&) {
  }
}

/// Puts back what a process that died had set aside, and removes what it left incomplete.
void clear_leftovers(const fs::path& folder) {
  for (const fs::path& path : entries_of(folder)) {
    const bool aside = path.extension() == kSetAside && step_of(path.stem().string());
    if (aside && !fs::exists(folder / path.stem())) {
      publish_folder(path, folder / path.stem());
    } else if (aside || path.extension() == kIncomplete) {
      try_to([&] { remove_tree(path); });
    }
  }
}

/// Removes all but the `keep` newest checkpoints up to `latest` and that of `keep_too`. Later ones stem
/// from before the run was resumed at an earlier step.
void retire(const fs::path& folder, std::int64_t latest, std::int64_t keep,
            std::optional<std::int64_t> keep_too) {
  std::vector<std::int64_t> steps;
  for (const fs::path& path : entries_of(folder)) {
    if (const auto step = step_of(path.filename().string())) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  std::int64_t kept = 0;
  for (const std::int64_t step : steps) {
    if (step <= latest && (kept++ < keep || step == keep_too)) continue;
    const fs::path path = folder / folder_name(step);
    try_to([&] {
      // Under its own name it would look complete until the last file is gone.
      rename_unsynced(path, with(path, kIncomplete));
      remove_tree(with(path, kIncomplete));
    });
  }
}

void write_files(const fs::path& folder, const Checkpoint& checkpoint) {
  json state = {{"format", kCheckpointFormat},
                {"step", checkpoint.step},
                {"tensors", json::array()},
                {"json", json::object()}};
  for (const auto& item : checkpoint.tensors) state["tensors"].push_back(item.first);
  for (const auto& [name, text] : checkpoint.json) state["json"][name] = json::parse(text);
  std::string digests;
  const auto write = [&](const std::string& name, const std::string& bytes) {
    write_synced(folder / name, bytes);
    digests += digest_line(name, bytes);
  };
  write(kState, state.dump(1) + "\n");
  for (const auto& [name, tensors] : checkpoint.tensors) {
    write(name + ".safetensors", to_safetensors(tensors));
  }
  write_synced(folder / kDigests, digests);
}

/// The steps of all checkpoints, whole or damaged, also of those set aside.
std::set<std::int64_t> steps_in(const fs::path& folder) {
  std::set<std::int64_t> steps;
  if (!fs::exists(folder)) return steps;
  for (const fs::path& path : entries_of(folder)) {
    const bool aside = path.extension() == kSetAside;
    const auto step = step_of((aside ? path.stem() : path.filename()).string());
    if (step) steps.insert(*step);
  }
  return steps;
}

/// The step that `latest` names.
std::int64_t latest_step(const fs::path& run) {
  const fs::path folder = run / "checkpoints";
  const fs::path pointer = folder / kPointer;
  if (!fs::exists(pointer)) {
    if (steps_in(folder).empty()) {
      throw FileError(run.string() + ": no complete checkpoint to resume from");
    }
    throw FileError(pointer.string() + ": missing, so which checkpoint is the latest is not known");
  }
  const std::string text = read_file(pointer);
  const std::string line = text.substr(0, text.find('\n'));
  const std::string name = line.substr(line.find(' ') + 1);
  const std::optional<std::int64_t> step = step_of(name);
  if (!step || text != digest_line(name, name)) {
    throw FormatError(pointer.string() + ": edited, damaged, or of another format than " +
                      std::to_string(kCheckpointFormat) + ": '" + excerpt(line) + "'");
  }
  return *step;
}

/// The folder of the checkpoint of `step`, or of the latest where that is not given.
fs::path folder_to_load(const fs::path& run, std::optional<std::int64_t> step) {
  const fs::path folder = run / "checkpoints" / folder_name(step ? *step : latest_step(run));
  if (fs::exists(folder)) return folder;
  if (fs::exists(with(folder, kSetAside))) return with(folder, kSetAside);
  if (step) throw FileError(run.string() + ": no checkpoint of step " + std::to_string(*step));
  throw FileError(folder.string() + ": missing, though 'latest' names it");
}

json parse_state(const std::string& text, const std::string& source) {
  json state = parse_object(text, kStateDepth, source);
  const auto format = state.find("format");
  if (format == state.end() || *format != kCheckpointFormat) {
    throw FormatError(source + ": format " +
                      (format == state.end() ? "missing" : excerpt(format->dump())) +
                      ", this program reads " + std::to_string(kCheckpointFormat));
  }
  return state;
}

/// Compares files with their lines in `digests`, to be called in the order in which they were
/// written.
class Digests {
 public:
  explicit Digests(const fs::path& folder)
      : folder_(folder), lines_(read_file(folder / kDigests)) {}

  void verify(const std::string& name, const std::string& bytes) {
    const std::string line = digest_line(name, bytes);
    if (lines_.compare(done_, line.size(), line) != 0) {
      throw FormatError((folder_ / name).string() + ": damaged: '" +
                        line.substr(0, line.size() - 1) + "' is not what stands in '" + kDigests +
                        "'");
    }
    done_ += line.size();
  }

  void expect_end() const {
    if (done_ != lines_.size()) {
      throw FormatError((folder_ / kDigests).string() + ": damaged: holds lines of no file");
    }
  }

 private:
  fs::path folder_;
  std::string lines_;
  std::size_t done_ = 0;
};

}  // namespace

std::string digest_line(const std::string& name, const std::string& bytes) {
  // The table is not written through.
  const kernels::SegmentTable table(
      {{const_cast<char*>(bytes.data()), static_cast<std::int64_t>(bytes.size()),
        kernels::DType::kBytes}});
  std::uint64_t digest = 0;
  kernels::checksum(table, &digest);
  char digits[17];
  std::snprintf(digits, sizeof(digits), "%016" PRIx64, digest);
  return digits + (" " + name) + "\n";
}

void save_checkpoint(const fs::path& run, const Checkpoint& checkpoint, std::int64_t keep,
                     std::optional<std::int64_t> keep_too) {
  const fs::path folder = run / "checkpoints";
  const fs::path final_name = folder / folder_name(checkpoint.step);
  const fs::path incomplete = with(final_name, kIncomplete);
  create_folders(folder);
  clear_leftovers(folder);
  create_folder(incomplete);
  write_files(incomplete, checkpoint);
  if (fs::exists(final_name)) {
    // Resumed at an earlier step and arrived here again. `latest` may name this folder, so it makes
    // room by a rename, and load_checkpoint() looks there too.
    publish_folder(final_name, with(final_name, kSetAside));
  }
  publish_folder(incomplete, final_name);
  make_latest(run, checkpoint.step);
  clear_leftovers(folder);
  retire(folder, checkpoint.step, std::max<std::int64_t>(keep, 1), keep_too);
}

Checkpoint load_checkpoint(const fs::path& run, std::optional<std::int64_t> step) {
  const fs::path folder = folder_to_load(run, step);
  const std::string source = (folder / kState).string();
  const std::string text = read_file(folder / kState);
  Digests digests(folder);
  digests.verify(kState, text);
  const json state = parse_state(text, source);
  Checkpoint checkpoint;
  checkpoint.step = *step_of(folder.stem().string());
  try {
    if (state.at("step") != checkpoint.step) {
      throw FormatError(source + ": of step " + excerpt(state.at("step").dump()));
    }
    for (const auto& [name, value] : state.at("json").items()) {
      checkpoint.json[name] = value.dump();
    }
    for (const json& item : state.at("tensors")) {
      const auto stem = item.get<std::string>();
      const std::string name = stem + ".safetensors";
      const std::string bytes = read_file(folder / name);
      digests.verify(name, bytes);
      checkpoint.tensors[stem] = from_safetensors(bytes, (folder / name).string());
    }
  } catch (const json::exception& error) {
    throw FormatError(source + ": " + json_words(error));
  }
  digests.expect_end();
  return checkpoint;
}

std::vector<std::int64_t> complete_checkpoints(const fs::path& run) {
  std::vector<std::int64_t> complete;
  for (const std::int64_t step : steps_in(run / "checkpoints")) {
    try {
      load_checkpoint(run, step);
      complete.push_back(step);
    } catch (const Error&) {
      // Damaged: not one of them.
    }
  }
  return complete;
}

void make_latest(const fs::path& run, std::int64_t step) {
  const std::string name = folder_name(step);
  replace_file(run / "checkpoints" / kPointer, digest_line(name, name));
}

}  // namespace leapverify

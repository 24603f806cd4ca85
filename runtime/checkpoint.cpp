#include <leapverify/runtime/checkpoint.h>
#include <leapverify/runtime/durable_files.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

namespace leapverify {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kPointer = "latest";
constexpr const char* kPrefix = "step-";
constexpr const char* kTemporary = ".tmp";

std::string folder_name(std::int64_t step) { return kPrefix + std::to_string(step); }

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

/// Where a checkpoint waits while another of the same step takes its name.
fs::path set_aside(const fs::path& folder) {
  fs::path aside = folder;
  return aside += ".old.tmp";
}

/// Removes left-overs of a process that died, and all but the `keep` newest checkpoints up to
/// `latest`. Later ones stem from before the run was resumed at an earlier step.
void tidy(const fs::path& folder, std::int64_t latest, std::int64_t keep) {
  std::vector<std::int64_t> steps;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() == kTemporary) fs::remove_all(entry.path(), ignored);
    const auto step = step_of(name);
    if (step && *step <= latest) steps.push_back(*step);
    if (step && *step > latest) fs::remove_all(entry.path(), ignored);
  }
  std::sort(steps.rbegin(), steps.rend());
  for (std::size_t i = static_cast<std::size_t>(keep); i < steps.size(); ++i) {
    fs::remove_all(folder / folder_name(steps[i]), ignored);
  }
}

fs::path latest_folder(const fs::path& run) {
  const fs::path folder = run / "checkpoints";
  if (!fs::exists(folder / kPointer)) {
    throw FileError(run.string() + ": no complete checkpoint to resume from");
  }
  const std::string name = read_file(folder / kPointer);
  if (!step_of(name)) {
    throw FormatError((folder / kPointer).string() + ": '" + name + "' is no checkpoint's name");
  }
  const fs::path latest = folder / name;
  return fs::exists(latest) ? latest : set_aside(latest);
}

}  // namespace

void save_checkpoint(const fs::path& run, const Checkpoint& checkpoint, std::int64_t keep) {
  const fs::path folder = run / "checkpoints";
  const fs::path final_name = folder / folder_name(checkpoint.step);
  fs::path temporary = final_name;
  temporary += kTemporary;
  std::error_code error;
  fs::create_directories(folder, error);
  fs::remove_all(temporary, error);
  if (!fs::create_directory(temporary, error)) {
    throw FileError(temporary.string() + ": cannot create: " + error.message());
  }
  json state = {{"format", kCheckpointFormat}, {"step", checkpoint.step}};
  for (const auto& [name, tensors] : checkpoint.tensors) {
    state["tensors"].push_back(name);
    write_synced(temporary / (name + ".safetensors"), to_safetensors(tensors));
  }
  for (const auto& [name, text] : checkpoint.json) state["json"][name] = json::parse(text);
  write_synced(temporary / "state.json", state.dump(1) + "\n");
  if (fs::exists(final_name)) {
    // Resumed at an earlier step and arrived here again. The pointer may name this folder, so it
    // makes room by a rename, and load_checkpoint() looks there too.
    fs::remove_all(set_aside(final_name), error);
    publish_folder(final_name, set_aside(final_name));
  }
  publish_folder(temporary, final_name);
  replace_file(folder / kPointer, folder_name(checkpoint.step));
  tidy(folder, checkpoint.step, std::max<std::int64_t>(keep, 1));
}

Checkpoint load_checkpoint(const fs::path& run) {
  const fs::path folder = latest_folder(run);
  const std::string source = (folder / "state.json").string();
  Checkpoint checkpoint;
  try {
    const json state = json::parse(read_file(folder / "state.json"));
    const int format = state.at("format").get<int>();
    if (format != kCheckpointFormat) {
      throw FormatError(source + ": format " + std::to_string(format) + ", this program reads " +
                        std::to_string(kCheckpointFormat));
    }
    checkpoint.step = state.at("step").get<std::int64_t>();
    for (const auto& [name, value] : state.at("json").items()) {
      checkpoint.json[name] = value.dump();
    }
    for (const json& name : state.at("tensors")) {
      const std::string stem = name.get<std::string>();
      const fs::path path = folder / (stem + ".safetensors");
      checkpoint.tensors[stem] = from_safetensors(read_file(path), path.string());
    }
  } catch (const json::exception& error) {
    throw FormatError(source + ": " + error.what());
  }
  return checkpoint;
}

}  // namespace leapverify

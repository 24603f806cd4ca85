// load_checkpoint() refuses any state.json whose digest is right with one line, or takes what
// save_checkpoint() writes back.
#include <leapverify/runtime/checkpoint.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>

#include "fuzz/fuzz_checks.h"

namespace leapverify {
namespace {

namespace fs = std::filesystem;

/// A checkpoint of step 1 with one file of tensors, and room for a second run.
class Runs {
 public:
  Runs() {
    std::string pattern = "/dev/shm/leapverify-fuzz-XXXXXX";
    require(::mkdtemp(pattern.data()) != nullptr, "no temporary folder in /dev/shm");
    folder_ = pattern;
    Checkpoint checkpoint;
    checkpoint.step = 1;
    checkpoint.tensors["model"] = {{"weight", at::arange(4)}};
    save_checkpoint(given(), checkpoint, 1);
    model_line_ = digest_line("model.safetensors", read_file(latest() / "model.safetensors"));
  }
  ~Runs() { remove_tree(folder_); }

  fs::path given() const { return folder_ / "given"; }
  fs::path again() const { return folder_ / "again"; }

  void put_state(const std::string& text) const {
    std::ofstream(latest() / "state.json", std::ios::binary) << text;
    std::ofstream(latest() / "digests") << digest_line("state.json", text) << model_line_;
  }

 private:
  fs::path latest() const { return given() / "checkpoints" / "step-1"; }

  fs::path folder_;
  std::string model_line_;
};

bool same_parts(const Checkpoint& a, const Checkpoint& b) {
  return a.step == b.step && a.json == b.json && a.tensors.size() == 1 && b.tensors.size() == 1 &&
         same(a.tensors.at("model"), b.tensors.at("model"));
}

void load(const std::string& state) {
  static const Runs runs;
  runs.put_state(state);
  Checkpoint checkpoint;
  try {
    checkpoint = load_checkpoint(runs.given());
  } catch (const FormatError& error) {
    return require_one_line(error.what());
  } catch (const FileError& error) {
    return require_one_line(error.what());
  }
  save_checkpoint(runs.again(), checkpoint, 1);
  require(same_parts(load_checkpoint(runs.again()), checkpoint),
          "saved and loaded again, the checkpoint differs");
}

}  // namespace
}  // namespace leapverify

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  leapverify::load(std::string(reinterpret_cast<const char*>(data), size));
  return 0;
}

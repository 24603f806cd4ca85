// Writes what the fuzz targets begin with, made by the writers themselves.
//
// Usage: fuzz_seeds FOLDER: makes FOLDER/safetensors and FOLDER/checkpoint, which must not exist.
#include <leapverify/runtime/checkpoint.h>
#include <torch/torch.h>

#include <cstdio>

namespace {

namespace fs = std::filesystem;

void write_tensors(const fs::path& folder) {
  using leapverify::to_safetensors;
  leapverify::create_folders(folder);
  leapverify::write_synced(folder / "none", to_safetensors({}));
  leapverify::write_synced(folder / "model", to_safetensors({{"wte.weight", at::arange(6.)},
                                                             {"empty", at::empty({0, 3})},
                                                             {"scalar", at::tensor(2.5)}}));
  leapverify::NamedTensors tensors;
  for (const at::ScalarType dtype : {at::kHalf, at::kBFloat16, at::kDouble, at::kLong, at::kInt,
                                     at::kShort, at::kChar, at::kByte, at::kBool}) {
    tensors.emplace_back(at::toString(dtype), at::ones({2, 1}, dtype));
  }
  leapverify::write_synced(folder / "dtypes", to_safetensors(tensors));
}

void write_state(const fs::path& path, const std::map<std::string, std::string>& json) {
  leapverify::Checkpoint checkpoint;
  checkpoint.step = 1;
  checkpoint.tensors["model"] = {{"weight", at::arange(4)}};
  checkpoint.json = json;
  const fs::path run = path.parent_path() / "run";
  leapverify::save_checkpoint(run, checkpoint, 1);
  const fs::path saved = run / "checkpoints" / "step-1" / "state.json";
  leapverify::write_synced(path, leapverify::read_file(saved));
  leapverify::remove_tree(run);
}

void write_states(const fs::path& folder) {
  write_state(folder / "none", {});
  write_state(folder / "scalars", {{"a", "null"},
                                   {"b", "true"},
                                   {"c", "-0.0"},
                                   {"d", "1e300"},
                                   {"e", "18446744073709551615"},
                                   {"f", R"("\u00e9\n\"")"}});
  write_state(folder / "trainer",
              {{"trainer", R"({"seconds":1.5,"hashes":[1,-2],"off":null})"},
               {"optimizer", R"({"kind":"adamw","groups":[{"lr":1e-3,"betas":[0.9,0.95]}]})"}});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
    return 2;
  }
  write_tensors(fs::path(argv[1]) / "safetensors");
  write_states(fs::path(argv[1]) / "checkpoint");
}

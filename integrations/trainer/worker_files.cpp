#include <leapverify/integrations/trainer/worker_files.h>
#include <leapverify/runtime/durable_files.h>
#include <leapverify/runtime/safetensors.h>

#include <fstream>

namespace leapverify::trainer {
namespace {

namespace fs = std::filesystem;

// These files need survive nothing.
void write(const fs::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) throw FileError(path.string() + ": could not be written");
}

void write_packed(const fs::path& folder, const std::string& name, const LeapVerifyState& packed) {
  write(folder / (name + ".safetensors"), to_safetensors(packed.tensors));
  write(folder / (name + ".json"), packed.json);
}

LeapVerifyState read_packed(const fs::path& folder, const std::string& name) {
  const fs::path file = folder / (name + ".safetensors");
  return {read_file(folder / (name + ".json")), from_safetensors(read_file(file), file.string())};
}

}  // namespace

void write_job(const fs::path& folder, const SpeculativeJob& job) {
  write_packed(folder, "job", pack(job));
}

SpeculativeJob read_job(const fs::path& folder) {
  return unpack_job(read_packed(folder, "job"), folder.string());
}

void write_result(const fs::path& folder, const SpeculativeResult& result) {
  write_packed(folder, "result", pack(result));
}

SpeculativeResult read_result(const fs::path& folder) {
  return unpack_result(read_packed(folder, "result"), folder.string());
}

}  // namespace leapverify::trainer

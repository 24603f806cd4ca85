#include <leapverify/integrations/trainer/run_folder.h>
#include <leapverify/runtime/durable_files.h>

#include <ctime>

namespace leapverify::trainer {

namespace fs = std::filesystem;

void create_run_folder(const fs::path& run, const std::string& config_yaml) {
  std::error_code error;
  if (fs::exists(run, error) && !(fs::is_directory(run, error) && fs::is_empty(run, error))) {
    throw FileError(run.string() + ": exists already; 'leapverify resume " + run.string() +
                    "' continues a run, --run names another folder");
  }
  fs::create_directories(run, error);
  if (error) throw FileError(run.string() + ": cannot create run folder: " + error.message());
  replace_file(run / "config.yaml", config_yaml);
}

fs::path config_of_run(const fs::path& run) {
  if (!fs::is_directory(run)) throw FileError(run.string() + ": no such run folder");
  if (!fs::exists(run / "config.yaml")) {
    throw FileError(run.string() + ": no run folder, it has no config.yaml");
  }
  return run / "config.yaml";
}

fs::path fresh_run_name() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d-%H-%M-%S", std::localtime(&now));
  fs::path name = fs::path("runs") / text;
  for (int suffix = 2; fs::exists(name); ++suffix) {
    name = fs::path("runs") / (std::string(text) + "-" + std::to_string(suffix));
  }
  return name;
}

}  // namespace leapverify::trainer

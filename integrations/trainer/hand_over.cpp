#include <leapverify/integrations/trainer/hand_over.h>
#include <leapverify/runtime/durable_files.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace leapverify::trainer {
namespace {

// As with -m, except for what is said when a package is missing.
constexpr const char* kProgram = R"(
import sys
try:
    from leapverify.report import main
except ModuleNotFoundError as error:
    print(f"leapverify: {sys.executable} has no Python package {error.name}; 'pip install .' in "
          "the source tree gives it, and LEAPVERIFY_PYTHON names another interpreter",
          file=sys.stderr)
    sys.exit(2)
sys.exit(main())
)";

namespace fs = std::filesystem;

/// Returns only where it cannot be run.
void become(std::vector<std::string> words, const std::vector<std::string>& arguments) {
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execvp(pointers[0], pointers.data());
}

/// Of the build folder "build-PRESET", or "build" for dev.
std::string preset_of(const fs::path& build_folder) {
  const std::string name = build_folder.filename().string();
  return name.rfind("build-", 0) == 0 ? name.substr(6) : "dev";
}

}  // namespace

void become_report(const std::vector<std::string>& arguments) {
  const char* chosen = std::getenv("LEAPVERIFY_PYTHON");
  const std::string python = chosen != nullptr && *chosen != '\0' ? chosen : "python3";
  become({python, "-c", kProgram}, arguments);
  throw FileError(python + ": cannot be run: " + std::strerror(errno) +
                  "; LEAPVERIFY_PYTHON names another interpreter");
}

void become_bench(const std::vector<std::string>& arguments) {
  const fs::path build_folder = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path script = build_folder.parent_path() / "scripts" / "bench.sh";
  if (!fs::exists(script)) {
    throw FileError(script.string() +
                    ": not there; the benches need the source tree, run the program of a build "
                    "folder in it");
  }
  ::setenv("LEAPVERIFY_PRESET", preset_of(build_folder).c_str(), /*overwrite=*/0);
  become({script.string()}, arguments);
  throw FileError(script.string() + ": cannot be run: " + std::strerror(errno));
}

}  // namespace leapverify::trainer

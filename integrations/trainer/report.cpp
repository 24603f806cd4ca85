#include <leapverify/integrations/trainer/report.h>
#include <leapverify/runtime/durable_files.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

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

}  // namespace

void become_report(const std::vector<std::string>& arguments) {
  const char* chosen = std::getenv("LEAPVERIFY_PYTHON");
  std::string python = chosen != nullptr && *chosen != '\0' ? chosen : "python3";
  std::vector<std::string> words = {python, "-c", kProgram};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execvp(python.c_str(), pointers.data());
  throw FileError(python + ": cannot be run: " + std::strerror(errno) +
                  "; LEAPVERIFY_PYTHON names another interpreter");
}

}  // namespace leapverify::trainer

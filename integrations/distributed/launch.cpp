#include <leapverify/integrations/distributed/launch.h>

#include <charconv>
#include <cstdlib>

namespace leapverify::distributed {
namespace {

class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  bool has(const char* name) const { return environment_(name).has_value(); }

  std::string text(const char* name) const {
    std::optional<std::string> value = environment_(name);
    if (!value || value->empty()) {
      throw LaunchError(std::string(name) +
                        " is not set: ranks need RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, "
                        "which torchrun sets");
    }
    return *value;
  }

  /// In [least, most].
  int number(const char* name, int least, int most) const {
    const std::string value = text(name);
    int result = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    if (error != std::errc() || end != value.data() + value.size() || result < least ||
        result > most) {
      throw LaunchError(std::string(name) + " is '" + value + "', expected a whole number from " +
                        std::to_string(least) + " to " + std::to_string(most));
    }
    return result;
  }

  int number_or(const char* name, int least, int most, int otherwise) const {
    return has(name) ? number(name, least, most) : otherwise;
  }

 private:
  const Environment& environment_;
};

constexpr int kMostRanks = 1 << 20;

Launch by_torchrun(const Reader& read) {
  Launch launch;
  launch.launcher = Launcher::kTorchrun;
  launch.size = read.number("WORLD_SIZE", 1, kMostRanks);
  launch.rank = read.number("RANK", 0, launch.size - 1);
  launch.local_size = read.number_or("LOCAL_WORLD_SIZE", 1, launch.size, launch.size);
  launch.local_rank =
      read.number_or("LOCAL_RANK", 0, launch.local_size - 1, launch.rank % launch.local_size);
  launch.host = read.text("MASTER_ADDR");
  launch.port = read.number("MASTER_PORT", 1, 65535);
  launch.agent_listens = read.has("TORCHELASTIC_USE_AGENT_STORE") &&
                         read.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  launch.attempt = read.number_or("TORCHELASTIC_RESTART_COUNT", 0, kMostRanks, 0);
  return launch;
}

Launch by_mpi(const Reader& read) {
  Launch launch;
  launch.launcher = Launcher::kMpi;
  launch.size = read.number("OMPI_COMM_WORLD_SIZE", 1, kMostRanks);
  launch.rank = read.number("OMPI_COMM_WORLD_RANK", 0, launch.size - 1);
  launch.local_size = read.number("OMPI_COMM_WORLD_LOCAL_SIZE", 1, launch.size);
  launch.local_rank = read.number("OMPI_COMM_WORLD_LOCAL_RANK", 0, launch.local_size - 1);
  return launch;
}

}  // namespace

std::optional<std::string> process_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

Launch read_launch(const Environment& environment) {
  const Reader read(environment);
  if (read.has("OMPI_COMM_WORLD_SIZE")) return by_mpi(read);
  for (const char* name : {"WORLD_SIZE", "RANK"}) {
    if (read.has(name)) return by_torchrun(read);
  }
  return {};
}

}  // namespace leapverify::distributed

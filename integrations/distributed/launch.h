// How a process was started among others: by torchrun, by mpirun, or alone.
#pragma once

#include <leapverify/kernels/error.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace leapverify::distributed {

/// The environment does not say how the ranks find each other, or says what cannot be.
class LaunchError : public Error {
 public:
  using Error::Error;
};

enum class Launcher { kNone, kTorchrun, kMpi };

/// What the environment says of this process.
struct Launch {
  Launcher launcher = Launcher::kNone;
  int rank = 0;
  int size = 1;
  /// Among the ranks of this machine.
  int local_rank = 0;
  int local_size = 1;
  /// With torchrun: where the ranks meet.
  std::string host;
  int port = 0;
  /// Whether torchrun itself listens there.
  bool agent_listens = false;
  /// Of torchrun, after ranks were lost.
  int attempt = 0;
};

/// The value of a variable of the environment.
using Environment = std::function<std::optional<std::string>(const char* name)>;
std::optional<std::string> process_environment(const char* name);

/// torchrun, and a start by hand alike, sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, and
/// LOCAL_RANK and LOCAL_WORLD_SIZE where a machine has several ranks; mpirun of Open MPI sets
/// OMPI_COMM_WORLD_RANK, …_SIZE, …_LOCAL_RANK and …_LOCAL_SIZE. Throws LaunchError, which names the
/// variable that is missing or no such number.
Launch read_launch(const Environment& environment = process_environment);

}  // namespace leapverify::distributed

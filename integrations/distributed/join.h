// Ranks that find each other.
#pragma once

#include <leapverify/integrations/distributed/communicator.h>
#include <leapverify/integrations/distributed/launch.h>

#include <chrono>
#include <memory>

namespace leapverify::distributed {

/// This process among those that train together.
struct Ranks {
  Launch launch;
  std::unique_ptr<Communicator> communicator = std::make_unique<Alone>();
};

/// Meets the other ranks: over NCCL, on GPU `local_rank`, where torchrun started them, and over MPI, on
/// CPUs, where mpirun did; Alone where nothing did. No rank waits longer than `timeout` for the others,
/// here and in everything that follows. Throws LaunchError on every rank where one has no GPU, where a
/// machine has another version of LeapVerify or torch, and where this program was built without what is
/// needed; CollectiveError where a rank does not come.
Ranks join(const Launch& launch, std::chrono::milliseconds timeout);

}  // namespace leapverify::distributed

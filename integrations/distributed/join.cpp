#include <leapverify/integrations/distributed/join.h>
#include <leapverify/runtime/error_text.h>

#include <utility>
#ifdef LEAPVERIFY_NCCL
#include <leapverify/integrations/distributed/nccl_communicator.h>
#include <leapverify/integrations/distributed/store_collective.h>
#include <torch/torch.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif
#ifdef LEAPVERIFY_MPI
#include <leapverify/integrations/distributed/mpi_communicator.h>
#endif

namespace leapverify::distributed {
namespace {

std::string versions() {
  return std::string("LeapVerify ") + LEAPVERIFY_VERSION + " with torch " +
         LEAPVERIFY_TORCH_VERSION;
}

#ifdef LEAPVERIFY_NCCL
c10::intrusive_ptr<c10d::Store> meet(const Launch& launch, std::chrono::milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(launch.port);
  options.isServer = launch.rank == 0 && !launch.agent_listens;
  options.numWorkers = static_cast<std::size_t>(launch.size);
  options.timeout = timeout;
  try {
    return c10::make_intrusive<c10d::PrefixStore>(
        "leapverify-" + std::to_string(launch.attempt),
        c10::make_intrusive<c10d::TCPStore>(launch.host, options));
  } catch (const std::exception& error) {
    throw CollectiveError("the " + std::to_string(launch.size) + " ranks did not meet at " +
                          launch.host + ":" + std::to_string(launch.port) + " within " +
                          std::to_string(timeout.count() / 1000) + " s: " + error_text(error));
  }
}

void check_has_gpu(const Launch& launch) {
  const auto devices = static_cast<int>(torch::cuda::device_count());
  if (launch.local_rank < devices) return;
  throw LaunchError("rank " + std::to_string(launch.rank) + " is number " +
                    std::to_string(launch.local_rank) + " of its machine, which shows " +
                    std::to_string(devices) +
                    " CUDA devices: torchrun starts one rank a GPU, ranks on CPUs are started by "
                    "mpirun");
}

std::unique_ptr<Communicator> join_over_nccl(const Launch& launch,
                                             std::chrono::milliseconds timeout) {
  const c10::intrusive_ptr<c10d::Store> store = meet(launch, timeout);
  StoreCollective ranks(store, launch.rank, launch.size, timeout);
  try {
    require_same(ranks, "version (here " + versions() + ")", versions());
    succeed_together(ranks, [&] { check_has_gpu(launch); });
  } catch (...) {
    // The first may hold the store.
    ranks.leave();
    throw;
  }
  return make_nccl_communicator(store, launch.rank, launch.size, launch.local_rank, timeout);
}
#endif

}  // namespace

Ranks join(const Launch& launch, std::chrono::milliseconds timeout) {
  if (launch.launcher == Launcher::kTorchrun && launch.size > 1) {
#ifdef LEAPVERIFY_NCCL
    return {launch, join_over_nccl(launch, timeout)};
#else
    throw LaunchError(
        "WORLD_SIZE is set, as by torchrun, whose ranks need NCCL, and this program was built "
        "without CUDA");
#endif
  }
  if (launch.launcher == Launcher::kMpi && launch.size > 1) {
#ifdef LEAPVERIFY_MPI
    auto ranks = make_mpi_communicator(timeout);
    require_same(*ranks, "version (here " + versions() + ")", versions());
    return {launch, std::move(ranks)};
#else
    throw LaunchError("started by mpirun, and this program was built without MPI (LEAPVERIFY_MPI)");
#endif
  }
  return {launch};
}

}  // namespace leapverify::distributed

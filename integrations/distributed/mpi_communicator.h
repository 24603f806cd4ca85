// Ranks on CPUs, over MPI.
#pragma once

#include <leapverify/integrations/distributed/communicator.h>

#include <chrono>

namespace leapverify::distributed {

/// All ranks of MPI_COMM_WORLD; one such object a process. Tensors are float, double or int64 on the
/// CPU. A thread of its own makes all calls of MPI, so that sums go on beside the caller.
std::unique_ptr<Communicator> make_mpi_communicator(std::chrono::milliseconds timeout);

}  // namespace leapverify::distributed

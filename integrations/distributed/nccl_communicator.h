// Ranks with a GPU each, over NCCL.
#pragma once

#include <leapverify/integrations/distributed/communicator.h>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>

namespace leapverify::distributed {

/// Over LibTorch's ProcessGroupNCCL on CUDA device `device`; tensors lie there. A sum of doubles waits
/// for the device. Where a sum of tensors is not done within `timeout`, torch ends the process.
std::unique_ptr<Communicator> make_nccl_communicator(c10::intrusive_ptr<c10d::Store> store,
                                                     int rank, int size, int device,
                                                     std::chrono::milliseconds timeout);

}  // namespace leapverify::distributed

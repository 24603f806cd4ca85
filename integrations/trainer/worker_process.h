// A speculative worker that is a process of its own: it may be killed, hang or run out of memory, and the
// run goes on.
#pragma once

#include <leapverify/integrations/trainer/config.h>
#include <leapverify/runtime/speculation.h>

#include <filesystem>
#include <memory>

namespace leapverify::trainer {

/// Runs `leapverify worker` on the device and threads that config.speculation gives. `folder`, which is
/// made anew and removed at the end, takes jobs and results. Throws WorkerError where no process can be
/// started.
std::unique_ptr<SpeculativeWorker> start_worker_process(const Config& config,
                                                        const std::filesystem::path& folder);

/// What that process does, until the one that started it is gone: reads what it is to do from `in`, a
/// descriptor, and answers there.
void serve_worker(const std::filesystem::path& folder, int in);

}  // namespace leapverify::trainer

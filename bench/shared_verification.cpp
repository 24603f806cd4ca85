// What a verification costs when ranks share it: the gate sequences of the demo model evaluated by one
// rank, while the others wait, and by all of them, in turns. One thread a rank.
// Usage: mpirun -n RANKS bench_shared_verification [SEQUENCES] [ROUNDS], or torchrun --no-python on GPUs.
// Prints one JSON object a round and a summary, all from rank 0.
#include <leapverify/integrations/distributed/join.h>
#include <leapverify/integrations/models/pretrained_model.h>
#include <leapverify/runtime/batch_evaluator.h>
#include <leapverify/runtime/replicas.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

namespace {

using leapverify::Collective;
using leapverify::Evaluation;
using leapverify::Replicas;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Seconds until the losses are known on every rank.
template <class Action>
double seconds_of(Collective& ranks, Action action) {
  leapverify::barrier(ranks);
  const auto start = std::chrono::steady_clock::now();
  action();
  leapverify::barrier(ranks);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void measure(Collective& ranks, torch::Device device, std::int64_t sequences, int rounds) {
  torch::set_num_threads(1);
  torch::manual_seed(0);
  const auto model = leapverify::models::make_model({});
  model->to(device);
  model->eval();
  const torch::NoGradGuard no_grad;
  const torch::Tensor tokens = torch::randint(256, {sequences, 128}, torch::kInt64).to(device);
  leapverify::BatchEvaluator evaluator(
      tokens, tokens, 16,
      [&](const at::Tensor& inputs, const at::Tensor& targets) {
        return Evaluation{
            leapverify::models::sequence_losses(*model, model->hidden(inputs), targets), {}};
      },
      16);
  std::vector<std::int64_t> all(static_cast<std::size_t>(sequences));
  for (std::int64_t i = 0; i < sequences; ++i) all[static_cast<std::size_t>(i)] = i;
  Replicas replicas(&ranks);
  const bool first = ranks.rank() == 0;
  std::vector<double> ratios;
  std::vector<double> alone_seconds;
  std::vector<double> shared_seconds;
  at::Tensor shared_losses;
  at::Tensor alone_losses;
  for (int round = -2; round < rounds; ++round) {
    const double alone = seconds_of(ranks, [&] {
      if (first) alone_losses = evaluator.evaluate(all, false).losses.cpu();
    });
    const double shared = seconds_of(ranks, [&] {
      replicas.run([&] { shared_losses = replicas.evaluate(evaluator, all, false).losses; });
    });
    if (round < 0) continue;
    alone_seconds.push_back(alone);
    shared_seconds.push_back(shared);
    ratios.push_back(shared / alone);
    if (first) {
      std::printf("{\"round\": %d, \"alone_seconds\": %.6f, \"shared_seconds\": %.6f}\n", round,
                  alone, shared);
    }
  }
  if (!first) return;
  const double difference =
      (shared_losses.cpu() - alone_losses.to(at::kDouble)).abs().max().item<double>();
  std::printf(
      "{\"summary\": true, \"ranks\": %d, \"sequences\": %lld, \"alone_seconds\": %.6f, "
      "\"shared_seconds\": %.6f, \"median_ratio\": %.4f, \"ratio_times_ranks\": %.4f, "
      "\"largest_loss_difference\": %.3g}\n",
      ranks.size(), static_cast<long long>(sequences), median(alone_seconds),
      median(shared_seconds), median(ratios), median(ratios) * ranks.size(), difference);
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t sequences = argc > 1 ? std::atoll(argv[1]) : 64;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 30;
  if (sequences < 1 || rounds < 1) {
    std::fprintf(stderr, "usage: bench_shared_verification [SEQUENCES] [ROUNDS]\n");
    return 2;
  }
  try {
    const leapverify::distributed::Ranks ranks = leapverify::distributed::join(
        leapverify::distributed::read_launch(), std::chrono::minutes(2));
    const bool cuda = ranks.launch.launcher == leapverify::distributed::Launcher::kTorchrun;
    measure(
        *ranks.communicator,
        cuda ? torch::Device(torch::kCUDA, static_cast<c10::DeviceIndex>(ranks.launch.local_rank))
             : torch::Device(torch::kCPU),
        sequences, rounds);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_shared_verification: %s\n", error.what());
    return 1;
  }
  return 0;
}

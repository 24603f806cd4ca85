#include <leapverify/integrations/trainer/batch_loader.h>

namespace leapverify::trainer {
namespace {

constexpr std::int64_t kAhead = 2;

}  // namespace

BatchLoader::BatchLoader(const data::Text& text, std::int64_t rows, std::int64_t context,
                         torch::Device device)
    : device_(device),
      batches_(
          [&text, rows, context, pinned = device.is_cuda()](std::int64_t step) {
            const auto options = torch::dtype(torch::kInt64).pinned_memory(pinned);
            const TokenBatch batch{torch::empty({rows, context}, options),
                                   torch::empty({rows, context}, options)};
            text.train_batch(step, rows, batch.tokens.data_ptr<std::int64_t>(),
                             batch.targets.data_ptr<std::int64_t>());
            return batch;
          },
          kAhead) {}

TokenBatch BatchLoader::take(std::int64_t step) {
  const TokenBatch batch = batches_.take(step);
  // Torch keeps pinned memory from being used anew before the copy is done.
  return {batch.tokens.to(device_, /*non_blocking=*/true),
          batch.targets.to(device_, /*non_blocking=*/true)};
}

}  // namespace leapverify::trainer

#include <leapverify/integrations/trainer/token_batch.h>

namespace leapverify::trainer {

TokenBatch empty_batch(std::int64_t rows, const PassSettings& settings) {
  const auto options = torch::dtype(torch::kInt64).pinned_memory(settings.device.is_cuda());
  return {torch::empty({rows, settings.context}, options),
          torch::empty({rows, settings.context}, options)};
}

TokenBatch to_device(const TokenBatch& batch, torch::Device device) {
  return {batch.tokens.to(device, /*non_blocking=*/true),
          batch.targets.to(device, /*non_blocking=*/true)};
}

}  // namespace leapverify::trainer

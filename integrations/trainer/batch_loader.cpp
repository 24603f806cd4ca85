#include <leapverify/integrations/models/language_model.h>
#include <leapverify/integrations/trainer/batch_loader.h>

namespace leapverify::trainer {
namespace {

constexpr std::int64_t kAhead = 2;

static_assert(data::kIgnored == models::kIgnoredTarget);

}  // namespace

BatchLoader::BatchLoader(const data::Text& text, std::int64_t first, std::int64_t rows,
                         const PassSettings& settings)
    : device_(settings.device),
      batches_(
          [&text, first, rows, settings](std::int64_t step) {
            const TokenBatch batch = empty_batch(rows, settings);
            text.train_batch(step, first, rows, batch.tokens.data_ptr<std::int64_t>(),
                             batch.targets.data_ptr<std::int64_t>());
            return batch;
          },
          kAhead) {}

TokenBatch BatchLoader::take(std::int64_t step) { return to_device(batches_.take(step), device_); }

}  // namespace leapverify::trainer

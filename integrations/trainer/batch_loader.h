// The training batches of a run, made ahead and brought to its device.
#pragma once

#include <leapverify/integrations/data/prefetcher.h>
#include <leapverify/integrations/data/text.h>
#include <leapverify/integrations/trainer/token_batch.h>

namespace leapverify::trainer {

/// A thread of its own fills the batches that come next.
class BatchLoader {
 public:
  /// Of each batch `rows` sequences from `first` on; `text` must outlive this.
  BatchLoader(const data::Text& text, std::int64_t first, std::int64_t rows,
              const PassSettings& settings);

  /// The batch of a step, which depends on the text's seed and the step alone; see to_device().
  TokenBatch take(std::int64_t step);

 private:
  torch::Device device_;
  data::Prefetcher<TokenBatch> batches_;
};

}  // namespace leapverify::trainer

// The training batches of a run, made ahead and brought to its device.
#pragma once

#include <leapverify/integrations/data/prefetcher.h>
#include <leapverify/integrations/data/text.h>
#include <leapverify/integrations/trainer/language_evaluator.h>

namespace leapverify::trainer {

/// A thread of its own fills the batches that come next, in pinned memory where the device is a
/// GPU.
class BatchLoader {
 public:
  /// `text` must outlive this.
  BatchLoader(const data::Text& text, std::int64_t rows, std::int64_t context,
              torch::Device device);

  /// The batch of a step, which depends on the text's seed and the step alone. On a GPU it arrives
  /// in the order of the current stream, without waiting for it.
  TokenBatch take(std::int64_t step);

 private:
  torch::Device device_;
  data::Prefetcher<TokenBatch> batches_;
};

}  // namespace leapverify::trainer

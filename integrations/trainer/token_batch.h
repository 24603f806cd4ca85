// Batches of tokens, and how they run through a model.
#pragma once

#include <leapverify/integrations/models/autocast.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdint>

namespace leapverify::trainer {

/// Tokens and targets, [rows × context] int64 each; targets that do not count are
/// models::kIgnoredTarget.
struct TokenBatch {
  torch::Tensor tokens;
  torch::Tensor targets;

  std::int64_t rows() const { return tokens.size(0); }
  /// `count` rows from `first` on, a view.
  TokenBatch narrow(std::int64_t first, std::int64_t count) const {
    return {tokens.narrow(0, first, count), targets.narrow(0, first, count)};
  }
};

/// Of every forward pass of a run.
struct PassSettings {
  torch::Device device;
  models::AutocastState autocast;
  /// Tokens of a sequence.
  std::int64_t context = 0;
  /// Most sequences of a forward pass.
  std::int64_t rows = 0;
  /// Likewise, of held-out ones; 0: as many.
  std::int64_t held_out_rows = 0;
  /// Whether training passes are captured as a CUDA graph.
  bool cuda_graph = false;

  std::int64_t rows_without_gradients() const { return held_out_rows > 0 ? held_out_rows : rows; }
};

/// Calls action(first, count) for consecutive parts of `rows` sequences, each of at most `most`.
template <class Action>
void in_parts(std::int64_t rows, std::int64_t most, Action action) {
  for (std::int64_t first = 0; first < rows; first += most) {
    action(first, std::min(most, rows - first));
  }
}

/// Of unset numbers, on the host, pinned where a GPU is to fetch it.
TokenBatch empty_batch(std::int64_t rows, const PassSettings& settings);

/// On a GPU it arrives in the order of the current stream, without waiting for it. Torch keeps pinned
/// memory from being used anew before the copy is done.
TokenBatch to_device(const TokenBatch& batch, torch::Device device);

}  // namespace leapverify::trainer

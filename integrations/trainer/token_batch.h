// Batches of tokens, and how they run through a model.
#pragma once

#include <leapverify/integrations/models/autocast.h>
#include <torch/torch.h>

#include <cstdint>

namespace leapverify::trainer {

/// Tokens and targets, [rows × context] int64 each.
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
};

}  // namespace leapverify::trainer

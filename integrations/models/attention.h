// Causal attention over several heads, as all models here use it.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace leapverify::models {

/// [batch × time × heads·size] as [batch × heads × time × size], a view.
torch::Tensor split_heads(const torch::Tensor& x, std::int64_t heads);

/// softmax(q kᵀ / √size) v, each place attending to itself and those before it, with a share
/// `dropout` of the attention weights zeroed and the others scaled up. q is
/// [batch × heads × time × size]; k and v may have fewer heads, a divisor of q's, each then serving
/// several of q's that stand side by side. Result [batch × time × heads·size].
torch::Tensor causal_attention(const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v, double dropout);

}  // namespace leapverify::models

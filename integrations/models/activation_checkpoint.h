// Activation checkpointing: memory of the forward pass against a second run of it.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <vector>

namespace leapverify::models {

/// A part of a model that depends on its argument, on parameters and on torch's random generators
/// only, and does the same each time: it may not read a mode that can change before backward.
using Segment = std::function<torch::Tensor(const torch::Tensor&)>;

/// segment(input), of which nothing but `input` is kept for the backward pass. That runs `segment`
/// again, on the same weights and with the random state and the autocast state of the first run, and
/// leaves both as it found them: results and gradients are those of segment(input).
/// `parameters` are all tensors beside `input` that gradients are wanted of, leaves of the graph;
/// hooks registered on them run twice. Costs a second forward pass of the segment.
/// Throws ContractError in the backward pass for create_graph: gradients of gradients would need the
/// kept activations.
torch::Tensor checkpoint(const Segment& segment, const torch::Tensor& input,
                         const std::vector<torch::Tensor>& parameters);

}  // namespace leapverify::models

#include <leapverify/kernels/error.h>
#include <leapverify/runtime/muon.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace leapverify {
namespace {

namespace optim = torch::optim;

// Jordan et al. 2024: the slope at 0 is as steep as keeps the singular values about 1.
constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
constexpr int kNewtonSchulzSteps = 5;
constexpr double kSmallestNorm = 1e-7;

/// Matrices of one shape, dtype and device.
struct Stack {
  std::vector<at::Tensor> parameters, gradients, buffers;
};
using StackKey = std::tuple<c10::DeviceIndex, at::ScalarType, std::int64_t, std::int64_t>;

double rate_factor(MuonRate rate, std::int64_t rows, std::int64_t columns) {
  const auto r = static_cast<double>(rows), c = static_cast<double>(columns);
  return rate == MuonRate::kOriginal ? std::sqrt(std::max(1.0, r / c))
                                     : 0.2 * std::sqrt(std::max(r, c));
}

void step_stack(const Stack& stack, const MuonOptions& options) {
  const at::Tensor& first = stack.parameters.front();
  at::_foreach_lerp_(stack.buffers, stack.gradients, 1 - options.momentum);
  const std::vector<at::Tensor> updates =
      orthogonal(at::stack(at::_foreach_lerp(stack.gradients, stack.buffers, options.momentum)))
          .unbind();
  at::_foreach_mul_(stack.parameters, 1 - options.lr() * options.weight_decay());
  const double rate = options.lr() * rate_factor(options.rate, first.size(0), first.size(1));
  at::_foreach_add_(stack.parameters, updates, -rate);
}

}  // namespace

torch::Tensor orthogonal(const torch::Tensor& stack) {
  const bool tall = stack.size(1) > stack.size(2);
  at::Tensor x = stack.to(at::kBFloat16);
  if (tall) x = x.mT();
  x = x / at::linalg_vector_norm(x, 2, at::IntArrayRef{1, 2}, /*keepdim=*/true)
              .clamp_min(kSmallestNorm);
  for (int step = 0; step < kNewtonSchulzSteps; ++step) {
    const at::Tensor gram = at::bmm(x, x.mT());
    const at::Tensor factor = at::baddbmm(gram, gram, gram, /*beta=*/kB, /*alpha=*/kC);
    x = at::baddbmm(x, factor, x, /*beta=*/kA);
  }
  return tall ? x.mT() : x;
}

Muon::Muon(const std::vector<optim::OptimizerParamGroup>& groups) : FusedAdamW(groups) {
  for (const optim::OptimizerParamGroup& group : groups) {
    const auto* options =
        group.has_options() ? dynamic_cast<const MuonOptions*>(&group.options()) : nullptr;
    LV_CHECK(options != nullptr, "a group of Muon without MuonOptions");
    for (const at::Tensor& parameter : group.params()) {
      LV_CHECK(!options->orthogonalised || parameter.dim() == 2,
               "Muon orthogonalises matrices, not a parameter of shape " << parameter.sizes());
    }
  }
}

std::unique_ptr<optim::AdamWParamState> Muon::empty_state() const {
  return std::make_unique<MuonParamState>();
}

void Muon::step_group(optim::OptimizerParamGroup& group) {
  // Groups may be added later, as plain AdamW's.
  const auto* given = dynamic_cast<const MuonOptions*>(&group.options());
  LV_CHECK(given != nullptr, "a group of Muon without MuonOptions");
  const MuonOptions& options = *given;
  if (!options.orthogonalised) return FusedAdamW::step_group(group);
  std::map<StackKey, Stack> stacks;
  for (const at::Tensor& parameter : group.params()) {
    if (!parameter.grad().defined()) continue;
    auto* found = dynamic_cast<MuonParamState*>(&state_of(parameter));
    LV_CHECK(found != nullptr, "a state of Muon that torch::load made: use export_state()");
    MuonParamState& state = *found;
    if (!state.momentum_buffer.defined()) state.momentum_buffer = at::zeros_like(parameter);
    Stack& stack = stacks[{parameter.device().index(), parameter.scalar_type(), parameter.size(0),
                           parameter.size(1)}];
    stack.parameters.push_back(parameter);
    stack.gradients.push_back(parameter.grad());
    stack.buffers.push_back(state.momentum_buffer);
  }
  for (const auto& [key, stack] : stacks) step_stack(stack, options);
}

}  // namespace leapverify

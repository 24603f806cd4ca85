#include <ATen/ops/_fused_adamw.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/fused_adamw.h>
#include <torch/torch.h>

#include <map>
#include <memory>
#include <tuple>
#include <typeinfo>
#include <utility>
#include <vector>

namespace leapverify {
namespace {

namespace optim = torch::optim;

/// What one call of the fused kernel steps: tensors on one device, of one dtype, that have taken
/// equally many steps.
struct Stack {
  std::vector<at::Tensor> parameters, gradients, exp_avgs, exp_avg_sqs, max_exp_avg_sqs;
};
using StackKey = std::tuple<c10::DeviceIndex, at::ScalarType, std::int64_t>;

void begin(optim::AdamWParamState* state, const at::Tensor& parameter, bool amsgrad) {
  const auto zeros = [&] { return at::zeros_like(parameter, at::MemoryFormat::Preserve); };
  state->exp_avg(zeros());
  state->exp_avg_sq(zeros());
  if (amsgrad) state->max_exp_avg_sq(zeros());
}

/// The gradient with the parameter's strides: the kernels go through the memory of both alike.
at::Tensor aligned(const at::Tensor& gradient, const at::Tensor& parameter) {
  if (gradient.strides() == parameter.strides()) return gradient;
  return at::empty_like(parameter, at::MemoryFormat::Preserve).copy_(gradient);
}

void add(Stack* stack, const at::Tensor& parameter, const optim::AdamWParamState& state) {
  stack->parameters.push_back(parameter);
  stack->gradients.push_back(aligned(parameter.grad(), parameter));
  stack->exp_avgs.push_back(state.exp_avg());
  stack->exp_avg_sqs.push_back(state.exp_avg_sq());
  if (state.max_exp_avg_sq().defined()) stack->max_exp_avg_sqs.push_back(state.max_exp_avg_sq());
}

void step_stack(const Stack& stack, std::int64_t step, const optim::AdamWOptions& options) {
  const at::Tensor counter =
      at::full({}, static_cast<double>(step), stack.parameters.front().options().dtype(at::kFloat));
  const std::vector<at::Tensor> counters(stack.parameters.size(), counter);
  const auto [beta1, beta2] = options.betas();
  at::_fused_adamw_(stack.parameters, stack.gradients, stack.exp_avgs, stack.exp_avg_sqs,
                    stack.max_exp_avg_sqs, counters, options.lr(), beta1, beta2,
                    options.weight_decay(), options.eps(), options.amsgrad(), /*maximize=*/false);
}

}  // namespace

torch::Tensor FusedAdamW::step(LossClosure closure) {
  torch::Tensor loss;
  if (closure != nullptr) {
    const at::AutoGradMode with_gradients(true);
    loss = closure();
  }
  const torch::NoGradGuard no_grad;
  for (optim::OptimizerParamGroup& group : param_groups_) step_group(group);
  return loss;
}

std::unique_ptr<optim::AdamWParamState> FusedAdamW::empty_state() const {
  return std::make_unique<optim::AdamWParamState>();
}

optim::AdamWParamState& FusedAdamW::state_of(const at::Tensor& parameter) {
  LV_CHECK(!parameter.grad().is_sparse(),
           "a sparse gradient of shape " << parameter.sizes() << ", expected a dense one");
  std::unique_ptr<optim::OptimizerParamState>& entry = state_[parameter.unsafeGetTensorImpl()];
  if (entry == nullptr) entry = empty_state();
  return static_cast<optim::AdamWParamState&>(*entry);
}

void FusedAdamW::step_group(optim::OptimizerParamGroup& group) {
  const auto& options = static_cast<const optim::AdamWOptions&>(group.options());
  std::map<StackKey, Stack> stacks;
  for (const at::Tensor& parameter : group.params()) {
    if (!parameter.grad().defined()) continue;
    optim::AdamWParamState& state = state_of(parameter);
    if (!state.exp_avg().defined()) begin(&state, parameter, options.amsgrad());
    state.step(state.step() + 1);
    add(&stacks[{parameter.device().index(), parameter.scalar_type(), state.step()}], parameter,
        state);
  }
  for (const auto& [key, stack] : stacks) step_stack(stack, std::get<2>(key), options);
}

bool is_adamw(const optim::Optimizer& optimizer) {
  return typeid(optimizer) == typeid(optim::AdamW) || typeid(optimizer) == typeid(FusedAdamW);
}

}  // namespace leapverify

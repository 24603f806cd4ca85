#include <leapverify/integrations/models/activation_checkpoint.h>
#include <leapverify/integrations/models/autocast.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/random_state.h>

#include <utility>

namespace leapverify::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What the second run needs beside tensors that autograd keeps.
struct FirstRun : torch::CustomClassHolder {
  FirstRun(Segment run, RandomState random_before, AutocastState autocast_then)
      : segment(std::move(run)), random(std::move(random_before)), autocast(autocast_then) {}

  Segment segment;
  RandomState random;
  AutocastState autocast;
};

/// Sets torch's random generators for the length of a scope.
class RandomStateScope {
 public:
  RandomStateScope(const RandomState& state, at::Device device)
      : device_(device), outside_(capture_random_state(device)) {
    restore_random_state(state, device);
  }
  ~RandomStateScope() { restore_random_state(outside_, device_); }
  RandomStateScope(const RandomStateScope&) = delete;
  RandomStateScope& operator=(const RandomStateScope&) = delete;

 private:
  at::Device device_;
  RandomState outside_;
};

/// `tensors`[0], the input, apart from the graph it came from, and the parameters themselves.
variable_list leaves_of(variable_list tensors) {
  const bool differentiable = tensors[0].requires_grad();
  tensors[0] = tensors[0].detach().requires_grad_(differentiable);
  return tensors;
}

/// Autocast as it is, but without the cache: the first run has no gradients, and its copies of the
/// weights would be found by those who want some.
AutocastState uncached_autocast(at::DeviceType device) {
  AutocastState state = autocast_state(device);
  state.cached = false;
  return state;
}

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  /// `tensors` are the input and then the parameters.
  static torch::Tensor forward(AutogradContext* context, const Segment& segment,
                               at::TensorList tensors) {
    // Kept with the parameters, so that one that is changed before backward is found out.
    context->save_for_backward(tensors.vec());
    const at::Device device = tensors[0].device();
    const auto first = c10::make_intrusive<FirstRun>(segment, capture_random_state(device),
                                                     uncached_autocast(device.type()));
    context->saved_data["first_run"] = torch::IValue::make_capsule(first);
    const AutocastScope autocast(device.type(), first->autocast);
    return segment(tensors[0]);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    LV_CHECK(
        !torch::GradMode::is_enabled(),
        "activation checkpointing cannot be differentiated twice (create_graph): switch it off");
    const variable_list leaves = leaves_of(context->get_saved_variables());
    const torch::Tensor output = run_again(*context, leaves[0]);

    variable_list wanted;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (context->needs_input_grad(i)) wanted.push_back(leaves[i]);
    }
    const variable_list found =
        torch::autograd::grad({output}, wanted, gradients, /*retain_graph=*/{},
                              /*create_graph=*/false, /*allow_unused=*/true);
    variable_list results(1);  // of the segment itself
    for (std::size_t i = 0, next = 0; i < leaves.size(); ++i) {
      results.push_back(context->needs_input_grad(i) ? found[next++] : torch::Tensor());
    }
    return results;
  }

 private:
  static torch::Tensor run_again(AutogradContext& context, const torch::Tensor& input) {
    const auto capsule = context.saved_data["first_run"].toCapsule();
    const auto& first = static_cast<const FirstRun&>(*capsule);
    const torch::AutoGradMode with_gradients(true);
    const RandomStateScope same_random(first.random, input.device());
    const AutocastScope same_precision(input.device().type(), first.autocast);
    return first.segment(input);
  }
};

}  // namespace

torch::Tensor checkpoint(const Segment& segment, const torch::Tensor& input,
                         const std::vector<torch::Tensor>& parameters) {
  variable_list tensors = {input};
  tensors.insert(tensors.end(), parameters.begin(), parameters.end());
  return Checkpoint::apply(segment, at::TensorList(tensors));
}

}  // namespace leapverify::models

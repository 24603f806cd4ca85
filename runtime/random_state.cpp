#include <leapverify/runtime/random_state.h>
#include <torch/torch.h>

#include <mutex>

namespace leapverify {
namespace {

at::Generator generator_of(at::Device device) {
  return at::globalContext().defaultGenerator(device);
}

at::Tensor state_of(at::Generator generator) {
  std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void set_state(at::Generator generator, const at::Tensor& state) {
  std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

}  // namespace

RandomState capture_random_state(at::Device device) {
  RandomState state;
  state.cpu = state_of(generator_of(at::kCPU));
  if (device.is_cuda()) state.cuda = state_of(generator_of(device));
  return state;
}

void restore_random_state(const RandomState& state, at::Device device) {
  set_state(generator_of(at::kCPU), state.cpu);
  if (device.is_cuda() && state.cuda.defined()) set_state(generator_of(device), state.cuda);
}

}  // namespace leapverify

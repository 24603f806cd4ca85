#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/rehearsal.h>

#include <cstdio>

namespace leapverify {

Rehearsal::Rehearsal(torch::optim::Optimizer& base, const TensorList& weights,
                     const TensorList& buffers, const TensorList* average, StepRunner& runner)
    : base_(base),
      weights_(weights),
      buffers_(buffers),
      average_(average),
      runner_(runner),
      position_(runner.position()),
      random_(capture_random_state(weights.torch_device())),
      optimizer_(export_state(base)),
      saved_buffers_(buffers.allocate_like(TensorList::Precision::kSame)) {
  for (auto& [name, tensor] : optimizer_.tensors) tensor = tensor.clone();
  saved_buffers_.copy_from(buffers_);
  if (average_ != nullptr) {
    saved_average_ = average_->allocate_like(TensorList::Precision::kSame);
    saved_average_.copy_from(*average_);
  }
  for (const at::Tensor& weight : weights_.tensors()) {
    versions_.push_back(weight._version());
    gradients_.push_back(weight.grad());
    // Steps make gradients of their own and leave these untouched.
    weight.mutable_grad() = at::Tensor();
  }
}

Rehearsal::~Rehearsal() {
  try {
    restore();
  } catch (const std::exception& error) {
    // Only a device that has failed for good lands here, and it ends the run at the next step.
    std::fprintf(stderr, "leapverify: ending a rehearsal failed: %s\n", error_text(error).c_str());
  }
}

void Rehearsal::restore() {
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    const at::Tensor& weight = weights_.tensors()[i];
    weight.mutable_grad() = gradients_[i];
    c10::VariableVersion version = weight.unsafeGetTensorImpl()->version_counter();
    version.set_version(versions_[i]);
  }
  import_state(base_, optimizer_, "rehearsal");
  buffers_.copy_from(saved_buffers_);
  if (average_ != nullptr) average_->copy_from(saved_average_);
  restore_random_state(random_, weights_.torch_device());
  runner_.seek(position_);
}

}  // namespace leapverify

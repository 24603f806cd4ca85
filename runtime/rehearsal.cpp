#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/rehearsal.h>

#include <algorithm>
#include <cstdio>
#include <exception>

namespace leapverify {

Rehearsal::Rehearsal(BaseOptimizer& base, const TrainedModel& model, const TensorList& weights,
                     const TensorList& buffers, const TensorList* average, StepRunner& runner)
    : weights_(weights),
      buffers_(buffers),
      average_(average),
      runner_(runner),
      position_(runner.position()),
      random_(capture_random_state(weights.torch_device())),
      put_state_back_(base.keep_state()),
      saved_buffers_(buffers.allocate_like(TensorList::Precision::kSame)) {
  saved_buffers_.copy_from(buffers_);
  if (average_ != nullptr) {
    saved_average_ = average_->allocate_like(TensorList::Precision::kSame);
    saved_average_.copy_from(*average_);
  }
  for (const at::Tensor& weight : weights_.tensors()) versions_.push_back(weight._version());
  std::vector<at::Tensor> parameters = weights_.tensors();
  for (const at::Tensor& parameter : model.parameters()) {
    const auto same = [&](const at::Tensor& other) { return other.is_same(parameter); };
    if (std::none_of(parameters.begin(), parameters.end(), same)) parameters.push_back(parameter);
  }
  for (const at::Tensor& parameter : parameters) {
    gradients_.push_back({parameter, parameter.grad()});
    // Steps make gradients of their own and leave these untouched.
    parameter.mutable_grad() = at::Tensor();
  }
}

Rehearsal::~Rehearsal() {
  try {
    end();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "leapverify: ending a rehearsal failed: %s\n", error_text(error).c_str());
  }
}

void Rehearsal::end() {
  if (ended_) return;
  ended_ = true;
  std::exception_ptr failure;
  // One part that fails must not keep the others from being put back.
  const auto attempt = [&failure](auto action) {
    try {
      action();
    } catch (...) {
      failure = std::current_exception();
    }
  };
  attempt([this] {
    for (const Gradient& gradient : gradients_) {
      gradient.parameter.mutable_grad() = gradient.value;
    }
    for (std::size_t i = 0; i < versions_.size(); ++i) {
      c10::VariableVersion version = weights_.tensors()[i].unsafeGetTensorImpl()->version_counter();
      version.set_version(versions_[i]);
    }
  });
  attempt(put_state_back_);
  attempt([this] { buffers_.copy_from(saved_buffers_); });
  attempt([this] {
    if (average_ != nullptr) average_->copy_from(saved_average_);
  });
  attempt([this] { restore_random_state(random_, weights_.torch_device()); });
  attempt([this] { runner_.seek(position_); });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace leapverify

#include <ATen/autocast_mode.h>
#include <leapverify/runtime/error_text.h>
#include <leapverify/runtime/evaluation_scope.h>

#include <cstdio>

namespace leapverify {
namespace {

/// A destructor must not throw, and one part that fails must not keep the others from being
/// restored.
template <class Action>
void attempt(const char* what, Action action) {
  try {
    action();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "leapverify: restoring %s failed: %s\n", what, error_text(error).c_str());
  }
}

}  // namespace

EvaluationScope::EvaluationScope(TrainedModel& model, const TensorList& buffers,
                                 const TensorList& saved_buffers, at::Device device, Mode mode)
    : buffers_(buffers),
      saved_buffers_(saved_buffers),
      device_(device),
      random_(capture_random_state(device)) {
  saved_buffers_.copy_from(buffers_);
  at::autocast::clear_cache();
  put_modes_back_ = model.enter(mode == Mode::kEvaluation);
}

EvaluationScope::~EvaluationScope() {
  attempt("modes", put_modes_back_);
  attempt("buffers", [this] { buffers_.copy_from(saved_buffers_); });
  attempt("random generators", [this] { restore_random_state(random_, device_); });
  // A cached low-precision copy of the weights must not outlive them.
  at::autocast::clear_cache();
}

}  // namespace leapverify

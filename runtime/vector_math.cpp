#include <leapverify/runtime/vector_math.h>
#include <torch/torch.h>

namespace leapverify {
namespace {

bool call_each_function() {
  using Function = at::Tensor (*)(const at::Tensor&);
  const Function functions[] = {at::acos, at::asin,   at::atan,  at::cos,  at::cosh,  at::erf,
                                at::erfc, at::erfinv, at::exp,   at::exp2, at::expm1, at::lgamma,
                                at::log,  at::log10,  at::log1p, at::log2, at::rsqrt, at::sin,
                                at::sinh, at::sqrt,   at::tan,   at::tanh};
  const at::NoGradGuard no_grad;
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const at::Tensor half = at::full({1}, 0.5, at::TensorOptions(at::kCPU).dtype(dtype));
    for (const Function function : functions) function(half);
  }
  return true;
}

}  // namespace

void resolve_vector_math() {
  static const bool called = call_each_function();
  static_cast<void>(called);
}

}  // namespace leapverify

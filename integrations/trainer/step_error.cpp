#include <c10/util/Exception.h>
#include <leapverify/integrations/trainer/step_error.h>

#include <cmath>
#include <limits>
#include <new>

namespace leapverify::trainer {
namespace {

[[noreturn]] void refuse(const std::string& what, std::int64_t step) {
  throw Error(what + " at step " + std::to_string(step) +
              "; a lower optimizer.lr may help. The last checkpoint is kept");
}

}  // namespace

bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return true;
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return true;
  // Torch's allocator of the host has no type of its own for it.
  const std::string words = error.what();
  return words.find("DefaultCPUAllocator") != std::string::npos ||
         words.find("CUDA_ERROR_OUT_OF_MEMORY") != std::string::npos ||
         words.find("CUBLAS_STATUS_ALLOC_FAILED") != std::string::npos;
}

std::string out_of_memory_text(const Config& config, std::int64_t step) {
  std::string ways;
  const auto add = [&ways](const std::string& way) { ways += (ways.empty() ? "" : ", ") + way; };
  if (config.batch.sequences > 1) {
    add("lower batch.sequences = " + std::to_string(config.batch.sequences) +
        " (and raise batch.accumulate = " + std::to_string(config.batch.accumulate) +
        " by as much for the same step)");
  }
  add("lower batch.context");
  if (config.run.cuda_graph) add("set run.cuda_graph: false");
  if (!config.model.activation_checkpointing) add("set model.activation_checkpointing: true");
  if (config.run.precision != Precision::kBf16) add("set run.precision: bf16");
  return "step " + std::to_string(step) + " does not fit into memory: " + ways;
}

void require_finite(double loss, std::int64_t step) {
  if (!std::isfinite(loss)) refuse("training loss is " + number_text(loss), step);
}

void require_finite(const torch::nn::Module& model, std::int64_t step) {
  const torch::NoGradGuard no_grad;
  constexpr double kLargest = std::numeric_limits<double>::infinity();
  for (const auto& item : model.named_parameters()) {
    const torch::Tensor& weight = item.value();
    if (!weight.requires_grad() || weight.numel() == 0) continue;
    // The norm needs no memory of the weight's size, and is NaN where the weight is.
    const double largest = torch::linalg_vector_norm(weight, kLargest).item<double>();
    if (!std::isfinite(largest)) {
      refuse("the weights '" + item.key() + "' hold " + number_text(largest), step);
    }
  }
}

}  // namespace leapverify::trainer

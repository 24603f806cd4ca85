#include <c10/util/Exception.h>
#include <leapverify/integrations/trainer/step_error.h>

#include <new>

namespace leapverify::trainer {

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
  if (!config.model.activation_checkpointing) add("set model.activation_checkpointing: true");
  if (config.run.precision != Precision::kBf16) add("set run.precision: bf16");
  return "step " + std::to_string(step) + " does not fit into memory: " + ways;
}

}  // namespace leapverify::trainer

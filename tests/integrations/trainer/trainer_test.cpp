// What a run keeps when something in it fails.
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <gmock/gmock.h>
#include <leapverify/integrations/trainer/trainer.h>
#include <leapverify/runtime/durable_files.h>
#include <torch/torch.h>

#include <stdexcept>

#include "integrations/temporary_folder.h"

namespace leapverify::trainer {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// While it lives the host has no memory for `bytes` at once without gradients, as in validation.
class NoMemoryWithoutGradients : public c10::Allocator {
 public:
  explicit NoMemoryWithoutGradients(std::size_t bytes)
      : bytes_(bytes), usual_(c10::GetCPUAllocator()) {
    c10::SetCPUAllocator(this, kPriority);
  }
  ~NoMemoryWithoutGradients() override { c10::SetCPUAllocator(usual_, kPriority); }
  NoMemoryWithoutGradients(const NoMemoryWithoutGradients&) = delete;
  NoMemoryWithoutGradients& operator=(const NoMemoryWithoutGradients&) = delete;

  c10::DataPtr allocate(std::size_t bytes) override {
    // Backward passes have no gradients either, but a node that they are at.
    const bool validates =
        !at::GradMode::is_enabled() && torch::autograd::get_current_node() == nullptr;
    if (bytes >= bytes_ && validates) throw std::bad_alloc();
    return usual_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return usual_->raw_deleter(); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    usual_->copy_data(to, from, bytes);
  }

 private:
  static constexpr std::uint8_t kPriority = 1;
  std::size_t bytes_;
  c10::Allocator* usual_;
};

class TrainerTest : public testing::TemporaryFolder {
 protected:
  Config config(const std::vector<std::string>& overrides = {}) const {
    std::string text;
    for (int i = 0; i < 2000; ++i) text += "line " + std::to_string(i * i % 97) + "\n";
    Config config = load_config("", write("config.yaml", R"(
run: {steps: 8, eval_every: 4, eval_sequences: 8, checkpoint_every: 0, device: cpu, threads: 1,
      sample_bytes: 0}
model: {context: 16, width: 16, heads: 2, layers: 1, dropout: 0.1}
batch: {sequences: 8}
schedule: {warmup: 2}
)"),
                                overrides);
    config.data.path = write("text.txt", text);
    return config;
  }
  /// Of a validation's logits, in bytes.
  static constexpr std::size_t kLogits = 8 * 16 * 256 * sizeof(float);

  const distributed::Ranks alone_;

  std::string model_of(const std::string& run, int step) const {
    return read_file(
        path(run + "/checkpoints/step-" + std::to_string(step) + "/model.safetensors"));
  }
};

TEST_F(TrainerTest, AFailingValidationLosesNoStep) {
  Trainer(config(), path("whole"), std::nullopt, alone_).train();
  {
    const NoMemoryWithoutGradients no_memory(kLogits);
    Trainer failing(config(), path("run"), std::nullopt, alone_);
    EXPECT_THAT([&] { failing.train(); }, ThrowsMessage<Error>(HasSubstr(
                                              "validation at step 4 failed, the checkpoint of that "
                                              "step is saved: 8 held-out sequences do not fit into "
                                              "memory at once: set batch.held_out lower")));
  }
  EXPECT_NE(model_of("run", 4), model_of("whole", 8));
  EXPECT_EQ(Trainer(config(), path("run"), Resume(), alone_).train().step, 8);
  EXPECT_EQ(model_of("run", 8), model_of("whole", 8));
}

TEST_F(TrainerTest, AFailingLastValidationLosesNoStep) {
  Config unvalidated = config();
  unvalidated.run.eval_every = 0;
  const NoMemoryWithoutGradients no_memory(kLogits);
  Trainer failing(unvalidated, path("run"), std::nullopt, alone_);
  EXPECT_THAT([&] { failing.train(); },
              ThrowsMessage<Error>(HasSubstr("validation at step 8 failed")));
  EXPECT_FALSE(model_of("run", 8).empty());
}

TEST_F(TrainerTest, ACapturedRunIsBitwiseThePlainOneAndResumes_cuda) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  const Config plain = config(
      {"run.device=cuda", "run.steps=40", "run.checkpoint_every=20", "batch.accumulate=2",
       "data.gate_share=0.3", "leapverify.preset=verified", "leapverify.enabled=true",
       "leapverify.observe_every=2", "leapverify.predictor=linear", "leapverify.reference=current",
       "leapverify.on_accept=leap", "leapverify.max_overhead=10", "leapverify.least_regime=chaotic",
       "leapverify.verification={rule: proximity, proximity_tolerance: 1, sequences: 16}"});
  Config captured = plain;
  captured.run.cuda_graph = true;
  EXPECT_GT(Trainer(plain, path("plain"), std::nullopt, alone_).train().ledger.accepted, 0);
  Trainer(captured, path("captured"), std::nullopt, alone_).train();
  EXPECT_EQ(model_of("captured", 20), model_of("plain", 20));
  EXPECT_EQ(model_of("captured", 40), model_of("plain", 40));
  Resume from_half;
  from_half.step = 20;
  Trainer(captured, path("captured"), from_half, alone_).train();
  EXPECT_EQ(model_of("captured", 40), model_of("plain", 40));
}

}  // namespace
}  // namespace leapverify::trainer

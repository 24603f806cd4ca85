// Clipping and the optimizers' steps leave the host free to run ahead of the GPU.
#include <gtest/gtest.h>
#include <leapverify/integrations/trainer/base_optimizer.h>
#include <leapverify/integrations/trainer/clip_gradients.h>
#ifdef LEAPVERIFY_CUDA
#include <c10/cuda/CUDAFunctions.h>
#endif

#include "integrations/models/small_gpt.h"

namespace leapverify::trainer {
namespace {

#ifdef LEAPVERIFY_CUDA
/// While it lives, torch throws where it would wait for the GPU.
class NoWaiting {
 public:
  NoWaiting() { set(c10::cuda::SyncDebugMode::L_ERROR); }
  ~NoWaiting() { set(c10::cuda::SyncDebugMode::L_DISABLED); }
  NoWaiting(const NoWaiting&) = delete;
  NoWaiting& operator=(const NoWaiting&) = delete;

 private:
  static void set(c10::cuda::SyncDebugMode mode) {
    c10::cuda::warning_state().set_sync_debug_mode(mode);
  }
};
#endif

class NoWaitingTest : public ::testing::TestWithParam<OptimizerName> {};

TEST_P(NoWaitingTest, InClippingAndAStep) {
#ifndef LEAPVERIFY_CUDA
  GTEST_SKIP() << "built without CUDA";
#else
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  const auto model = testing::small_gpt();
  model->to(torch::kCUDA);
  for (torch::Tensor& parameter : model->parameters()) {
    parameter.mutable_grad() = torch::randn_like(parameter);
  }
  OptimizerOptions options;
  options.name = GetParam();
  const auto optimizer = make_base_optimizer(options, *model);
  const NoWaiting no_waiting;
  // The first step makes the state.
  for (int step = 0; step < 3; ++step) {
    EXPECT_NO_THROW(clip_gradients(model->parameters(), 1));
    EXPECT_NO_THROW(optimizer->step());
  }
  EXPECT_ANY_THROW(model->parameters().front().sum().item<float>()) << "the check itself";
#endif
}

INSTANTIATE_TEST_SUITE_P(cuda, NoWaitingTest,
                         ::testing::Values(OptimizerName::kAdamW, OptimizerName::kMuon),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

}  // namespace
}  // namespace leapverify::trainer

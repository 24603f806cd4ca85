#include <gmock/gmock.h>
#include <leapverify/integrations/trainer/batch_loader.h>

#include "integrations/temporary_folder.h"

namespace leapverify::trainer {
namespace {

class BatchLoaderTest : public testing::TemporaryFolder {
 protected:
  static constexpr std::int64_t kContext = 16, kRows = 4, kFirst = 8;

  /// Takes batches in and out of order and holds each against what the text gives.
  void expect_batches_of_the_text(torch::Device device) const {
    std::string content;
    for (int i = 0; i < 500; ++i) content += std::to_string(i * i);
    data::DataOptions options;
    options.path = write("text", content);
    const data::Text text(options, 256, kContext, kRows);
    BatchLoader loader(text, kFirst, kRows, {device, {}, kContext, kRows});
    std::vector<TokenBatch> taken;
    const std::vector<std::int64_t> steps = {0, 1, 2, 3, 1, 2, 7, 8, 0, 0, 1};
    for (const std::int64_t step : steps) taken.push_back(loader.take(step));
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const TokenBatch expected{torch::empty({kRows, kContext}, torch::kInt64),
                                torch::empty({kRows, kContext}, torch::kInt64)};
      text.train_batch(steps[i], kFirst, kRows, expected.tokens.data_ptr<std::int64_t>(),
                       expected.targets.data_ptr<std::int64_t>());
      EXPECT_EQ(taken[i].tokens.device().type(), device.type());
      EXPECT_TRUE(torch::equal(taken[i].tokens.cpu(), expected.tokens)) << "step " << steps[i];
      EXPECT_TRUE(torch::equal(taken[i].targets.cpu(), expected.targets)) << "step " << steps[i];
    }
  }
};

TEST_F(BatchLoaderTest, BatchesAreThoseOfTheText) { expect_batches_of_the_text(torch::kCPU); }

TEST_F(BatchLoaderTest, BatchesOnTheGpuAreThoseOfTheText_cuda) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  expect_batches_of_the_text(torch::kCUDA);
}

}  // namespace
}  // namespace leapverify::trainer

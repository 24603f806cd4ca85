// A model of the true size of GPT-2 goes through its files.
#include <gtest/gtest.h>
#include <leapverify/integrations/models/gpt2.h>
#include <leapverify/integrations/models/pretrained_files.h>

#include <cstring>

#include "integrations/temporary_folder.h"

namespace leapverify::models {
namespace {

class FullSize : public testing::TemporaryFolder {};

TEST_F(FullSize, Gpt2ComesBackBitwiseFromShards) {
  torch::manual_seed(1);
  const auto model = std::make_shared<Gpt2>(Gpt2Options());
  save_pretrained(*model, path("model"), std::int64_t{150} << 20);
  const auto loaded = load_pretrained(path("model"));
  std::int64_t numbers = 0;
  const auto parameters = model->named_parameters();
  for (const auto& parameter : loaded->named_parameters()) {
    const torch::Tensor& expected = parameters[parameter.key()];
    ASSERT_EQ(parameter.value().sizes(), expected.sizes()) << parameter.key();
    EXPECT_EQ(std::memcmp(parameter.value().data_ptr(), expected.data_ptr(), expected.nbytes()), 0)
        << parameter.key();
    numbers += expected.numel();
  }
  EXPECT_EQ(numbers, 124439808);
  EXPECT_TRUE(std::filesystem::exists(path("model/model-00004-of-00004.safetensors")));
}

}  // namespace
}  // namespace leapverify::models

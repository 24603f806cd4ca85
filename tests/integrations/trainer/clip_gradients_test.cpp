// Clipping is torch's, without waiting for the device.
#include <gtest/gtest.h>
#include <leapverify/integrations/trainer/clip_gradients.h>

namespace leapverify::trainer {
namespace {

std::vector<torch::Tensor> parameters_with_gradients() {
  torch::manual_seed(3);
  std::vector<torch::Tensor> parameters;
  for (const std::vector<std::int64_t>& shape :
       std::vector<std::vector<std::int64_t>>{{5, 3}, {7}, {0}, {2, 2}}) {
    parameters.push_back(torch::zeros(shape).requires_grad_());
    parameters.back().mutable_grad() = torch::randn(shape);
  }
  parameters.back().mutable_grad() = torch::Tensor();
  return parameters;
}

TEST(ClipGradients, AreTorchsWhetherTheyAreCutOrNot) {
  for (const double max_norm : {1e-3, 1.0, 1e3}) {
    const auto expected = parameters_with_gradients(), found = parameters_with_gradients();
    torch::nn::utils::clip_grad_norm_(expected, max_norm);
    clip_gradients(found, max_norm);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(torch::allclose(found[i].grad(), expected[i].grad(), 1e-6, 0))
          << "parameter " << i << " at " << max_norm;
    }
    EXPECT_FALSE(found[3].grad().defined());
  }
}

TEST(ClipGradients, OfNoneIsNothing) {
  clip_gradients({}, 1);
  clip_gradients({torch::zeros({3}).requires_grad_()}, 1);
}

TEST(ClipGradients, ThatAreNaNStayNaN) {
  const auto parameters = parameters_with_gradients();
  parameters[1].grad()[2] = std::nan("");
  clip_gradients(parameters, 1);
  EXPECT_TRUE(parameters[0].grad().isnan().all().item<bool>());
}

}  // namespace
}  // namespace leapverify::trainer

// Losses and weights that are not finite end a run.
#include <gmock/gmock.h>
#include <leapverify/integrations/trainer/step_error.h>

#include <cmath>
#include <limits>

namespace leapverify::trainer {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(StepError, NamesALossThatIsNotFinite) {
  EXPECT_NO_THROW(require_finite(1e300, 7));
  EXPECT_THAT([] { require_finite(std::nan(""), 7); },
              ThrowsMessage<Error>(HasSubstr("training loss is nan at step 7; a lower")));
}

TEST(StepError, NamesTrainedWeightsThatAreNotFinite) {
  const torch::NoGradGuard no_grad;
  for (const double value : {std::nan(""), -std::numeric_limits<double>::infinity()}) {
    torch::nn::Linear model(40, 30);
    model->register_parameter("empty", torch::empty({0, 3}));
    model->weight.fill_(-3e38);
    EXPECT_NO_THROW(require_finite(*model, 7));
    model->weight[29][39] = value;
    EXPECT_THAT(
        [&] { require_finite(*model, 7); },
        ThrowsMessage<Error>(HasSubstr(std::string("the weights 'weight' hold ") +
                                       (std::isnan(value) ? "nan" : "inf") + " at step 7")));
    model->weight.requires_grad_(false);
    EXPECT_NO_THROW(require_finite(*model, 7)) << "frozen";
  }
}

}  // namespace
}  // namespace leapverify::trainer

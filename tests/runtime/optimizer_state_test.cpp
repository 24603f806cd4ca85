// Optimizer state out and in: a loaded optimizer steps bitwise like the one it came from.
#include <gmock/gmock.h>
#include <leapverify/regimes/field.h>
#include <leapverify/runtime/fused_adamw.h>
#include <leapverify/runtime/optimizer_state.h>

#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using testing::HasSubstr;

class OptimizerStateTest : public testing::TestWithParam<const char*> {};

TEST_P(OptimizerStateTest, LoadedOptimizerStepsAlike) {
  ToyRun original(GetParam());
  original.train(5);
  original.base->param_groups()[0].options().set_lr(0.00123);
  const OptimizerState state = export_state(*original.base);

  ToyRun copy(GetParam());
  {
    torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < copy.model->parameters().size(); ++i) {
      copy.model->parameters()[i].copy_(original.model->parameters()[i]);
    }
    for (std::size_t i = 0; i < copy.model->buffers().size(); ++i) {
      copy.model->buffers()[i].copy_(original.model->buffers()[i]);
    }
  }
  import_state(*copy.base, state, "test");
  EXPECT_EQ(copy.base->param_groups()[0].options().get_lr(), 0.00123);
  for (ToyRun* run : {&original, &copy}) {
    torch::manual_seed(3);
    run->progress.data = 5;
    run->train(5);
  }
  EXPECT_TRUE(bitwise_equal(original.everything(), copy.everything()));
}

TEST_P(OptimizerStateTest, ExportBeforeTheFirstStepCanBeLoaded) {
  ToyRun run(GetParam());
  EXPECT_NO_THROW(import_state(*run.base, export_state(*run.base), "test"));
}

TEST_P(OptimizerStateTest, ResetOptimizerStepsLikeANewOne) {
  ToyRun worn(GetParam());
  worn.train(5);
  reset_state(*worn.base);
  ToyRun fresh(GetParam());
  {
    torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < fresh.model->parameters().size(); ++i) {
      fresh.model->parameters()[i].copy_(worn.model->parameters()[i]);
    }
    for (std::size_t i = 0; i < fresh.model->buffers().size(); ++i) {
      fresh.model->buffers()[i].copy_(worn.model->buffers()[i]);
    }
  }
  for (ToyRun* run : {&worn, &fresh}) {
    torch::manual_seed(3);
    run->progress.data = 5;
    run->train(3);
  }
  EXPECT_TRUE(bitwise_equal(worn.everything(), fresh.everything()));
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerStateTest,
                         testing::Values("sgd", "adam", "adamw", "amsgrad", "rmsprop", "centered",
                                         "adagrad"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST(OptimizerState, ScaleMultipliesMomentsAndKeepsTheCounter) {
  ToyRun run;
  run.train(4);
  const OptimizerState before = export_state(*run.base);
  const at::Tensor moment = before.tensors[0].second.clone();
  scale_moments(*run.base, 0);
  const OptimizerState after = export_state(*run.base);
  EXPECT_GT(moment.abs().max().item<double>(), 0);
  EXPECT_EQ(after.tensors[0].second.abs().max().item<double>(), 0);
  EXPECT_EQ(after.json, before.json);
}

TEST(OptimizerState, MomentsThatComeFromAFileLieAsTheirParameterDoes) {
  const auto trained = [](bool through_a_file) {
    const at::Tensor weight = torch::linspace(-1, 1, 30).reshape({6, 5}).t().requires_grad_();
    FusedAdamW optimizer({weight}, torch::optim::AdamWOptions(0.1));
    const auto step = [&](double factor) {
      weight.mutable_grad() = (weight.detach() * factor).sin();
      optimizer.step();
    };
    step(3);
    OptimizerState state = export_state(optimizer);
    for (auto& [name, tensor] : state.tensors) tensor = tensor.clone(at::MemoryFormat::Contiguous);
    if (through_a_file) import_state(optimizer, state, "test");
    step(5);
    return weight.detach();
  };
  EXPECT_FALSE(trained(false).is_contiguous());
  EXPECT_TRUE(bitwise_equal(trained(false), trained(true)));
}

TEST(OptimizerState, RefusesLbfgsWithTheReason) {
  ToyRun run("lbfgs");
  try {
    check_supported(*run.base);
    FAIL() << "LBFGS was accepted";
  } catch (const InvalidOption& error) {
    EXPECT_THAT(error.what(), HasSubstr("evaluates the loss several times"));
  }
}

TEST(OptimizerState, RefusesAnotherKindAndLeavesTheOptimizerAlone) {
  ToyRun adam("adam");
  adam.train(2);
  ToyRun sgd("sgd");
  sgd.train(2);
  const auto before = sgd.everything();
  try {
    import_state(*sgd.base, export_state(*adam.base), "run-1");
    FAIL() << "adam's state was accepted by sgd";
  } catch (const FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("run-1: state of adam, the optimizer is sgd"));
  }
  EXPECT_TRUE(bitwise_equal(before, sgd.everything()));
}

}  // namespace
}  // namespace leapverify

// Parameters that do not require gradients: neither kept nor changed, and no others later.
#include <gmock/gmock.h>
#include <leapverify/kernels/error.h>

#include <nlohmann/json.hpp>

#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

void freeze(torch::nn::Module& module, bool frozen = true) {
  for (torch::Tensor& parameter : module.parameters()) parameter.requires_grad_(!frozen);
}

TEST(Frozen, ParametersTakeNoMemoryAndStayBitwiseWhatTheyAre) {
  ToyRun run;
  freeze(*run.model->first);
  run.wrap(accepting_options());
  const torch::Tensor frozen = run.model->first->weight.detach().clone();
  const torch::Tensor trained = run.model->second->weight.detach().clone();
  run.train(60);
  EXPECT_GT(run.leaps->status().ledger.accepted, 3);
  EXPECT_TRUE(bitwise_equal(run.model->first->weight, frozen));
  EXPECT_FALSE(torch::equal(run.model->second->weight, trained));

  ToyRun whole;
  whole.wrap(accepting_options());
  const auto bytes_of_first = static_cast<std::int64_t>(run.model->first->weight.nbytes() +
                                                        run.model->first->bias.nbytes());
  // The weights of before a leap, and no fewer than two snapshots.
  EXPECT_LE(run.leaps->memory_bytes(), whole.leaps->memory_bytes() - 3 * bytes_of_first);
}

TEST(Frozen, EveryPredictorRollsBackBitwise) {
  const auto train = [](ToyRun& run) {
    freeze(*run.model->first);
    run.train(60);
  };
  ToyRun bare;
  train(bare);
  for (const auto& predictor : EnumNames<policy::PredictorKind>::names) {
    ToyRun wrapped;
    freeze(*wrapped.model->first);
    Options options = eager_options();
    options.predictor.kind = predictor.value;
    wrapped.wrap(options);
    reject_everything(wrapped);
    train(wrapped);
    EXPECT_TRUE(bitwise_equal(bare.everything(), wrapped.everything())) << predictor.name;
    EXPECT_GE(events_of(wrapped, "candidate").size(), 5u) << predictor.name;
  }
}

TEST(Frozen, RefusesToStepWhenOthersRequireGradientsThanAtConstruction) {
  ToyRun run;
  freeze(*run.model->first);
  run.wrap(accepting_options());
  run.train(10);
  freeze(*run.model->first, false);
  EXPECT_THAT(
      [&] { run.train(1); },
      ThrowsMessage<ContractError>(HasSubstr(
          "6 parameters of the base optimizer require gradients, expected the 4 that did")));
  freeze(*run.model->first);
  freeze(*run.model->second);
  freeze(*run.model->norm, false);
  EXPECT_THROW(run.train(1), ContractError) << "fewer";
}

TEST(Frozen, RefusesAnOptimizerOfFrozenParametersOnly) {
  ToyRun run;
  freeze(*run.model);
  EXPECT_THAT([&] { run.wrap(accepting_options()); },
              ThrowsMessage<InvalidOption>(
                  "base optimizer: no parameters that require gradients is not legal, expected at "
                  "least one parameter that does"));
}

}  // namespace
}  // namespace leapverify

// Adapters start as nothing, are all that is trained, and can be merged into the weights.
#include <gmock/gmock.h>
#include <leapverify/integrations/models/lora.h>
#include <leapverify/runtime/random_state.h>

#include <cmath>

#include "integrations/models/small_lora.h"
#include "runtime/tensor_matchers.h"

namespace leapverify::models {
namespace {

using ::testing::HasSubstr;
using testing::randomise_adapters;
using testing::small_lora_options;
using testing::small_model;
using testing::small_tokens;
using ::testing::ThrowsMessage;

torch::Tensor loss_of(PretrainedModel& model) {
  const torch::Tensor tokens = small_tokens();
  return sequence_losses(model, model.hidden(tokens), tokens.flip(1)).mean();
}

TEST(LoraLinear, AddsTheScaledProductOfItsMatrices) {
  for (const bool rank_stabilized : {false, true}) {
    torch::manual_seed(2);
    LoraLinear layer(6, 5);
    LoraOptions options = small_lora_options();
    options.alpha = 12;
    options.rank_stabilized = rank_stabilized;
    layer->add_adapter(options);
    const torch::NoGradGuard no_grad;
    layer->lora_b().normal_();
    const torch::Tensor x = torch::rand({3, 6});
    const double scale = rank_stabilized ? 6 : 3;
    const torch::Tensor matrix = layer->weight + scale * layer->lora_b().matmul(layer->lora_a());
    const torch::Tensor expected = x.matmul(matrix.t()) + layer->bias;
    EXPECT_TRUE(torch::allclose(layer(x, true), expected, 1e-5, 1e-6));
    layer->merge_adapter();
    EXPECT_TRUE(torch::allclose(layer(x, true), expected, 1e-5, 1e-6));
  }
}

TEST(LoraLinear, StartsWithAUniformAAndNoB) {
  torch::manual_seed(2);
  LoraLinear layer(400, 30);
  LoraOptions options = small_lora_options();
  options.rank = 50;
  layer->add_adapter(options);
  const double bound = 1 / std::sqrt(400.0);
  EXPECT_LE(layer->lora_a().abs().max().item<double>(), bound);
  EXPECT_NEAR(layer->lora_a().std().item<double>(), bound / std::sqrt(3.0), bound / 100);
  EXPECT_NEAR(layer->lora_a().mean().item<double>(), 0, bound / 50);
  EXPECT_TRUE((layer->lora_b() == 0).all().item<bool>());
  EXPECT_EQ(layer->lora_a().sizes(), (std::vector<std::int64_t>{50, 400}));
  EXPECT_EQ(layer->lora_b().sizes(), (std::vector<std::int64_t>{30, 50}));
}

class Lora : public ::testing::TestWithParam<const char*> {};

TEST_P(Lora, FreshAdaptersChangeNoBit) {
  const auto model = small_model(GetParam());
  const torch::Tensor before = model->forward(small_tokens());
  LoraOptions options = small_lora_options();
  options.dropout = 0.3;
  add_lora(*model, options);
  EXPECT_TRUE(bitwise_equal(model->forward(small_tokens()), before));
  randomise_adapters(*model);
  EXPECT_FALSE(torch::equal(model->forward(small_tokens()), before));
}

TEST_P(Lora, TrainsAdaptersOnly) {
  const auto model = small_model(GetParam());
  const std::size_t weights = model->parameters().size();
  add_lora(*model, small_lora_options());
  randomise_adapters(*model);
  loss_of(*model).backward();
  std::size_t frozen = 0;
  for (const auto& parameter : model->named_parameters()) {
    const bool adapter = parameter.key().find("lora_") != std::string::npos;
    EXPECT_EQ(parameter.value().requires_grad(), adapter) << parameter.key();
    EXPECT_EQ(parameter.value().grad().defined(), adapter) << parameter.key();
    frozen += adapter ? 0 : 1;
  }
  EXPECT_EQ(frozen, weights);
  EXPECT_EQ(model->parameters().size() - weights, lora_weights(*model).size());
  for (const StoredWeight& weight : lora_weights(*model)) {
    EXPECT_GT(weight.parameter.grad().abs().max().item<float>(), 0) << weight.name;
  }
}

TEST_P(Lora, DropoutActsInTrainingOnlyAndFollowsTheSeed) {
  const auto model = small_model(GetParam());
  add_lora(*model, small_lora_options());
  randomise_adapters(*model);
  const torch::Tensor without = model->forward(small_tokens());
  const auto dropping = small_model(GetParam());
  LoraOptions options = small_lora_options();
  options.dropout = 0.5;
  add_lora(*dropping, options);
  randomise_adapters(*dropping);
  const auto run = [&](std::uint64_t seed) {
    const torch::Tensor tokens = small_tokens();
    torch::manual_seed(seed);
    return dropping->forward(tokens);
  };
  EXPECT_TRUE(bitwise_equal(run(1), run(1)));
  EXPECT_FALSE(torch::equal(run(1), run(2)));
  dropping->eval();
  EXPECT_TRUE(bitwise_equal(run(1), without));
}

TEST_P(Lora, CheckpointedTrainsBitwiseThePlainWay) {
  const auto model = small_model(GetParam(), 0.2);
  LoraOptions options = small_lora_options();
  options.dropout = 0.4;
  add_lora(*model, options);
  randomise_adapters(*model);
  const auto step = [&] {
    std::vector<std::pair<std::string, torch::Tensor>> results;
    model->zero_grad();
    const torch::Tensor loss = loss_of(*model);
    model->eval();
    loss.backward();
    model->train();
    results.emplace_back("loss", loss);
    for (const StoredWeight& weight : lora_weights(*model)) {
      results.emplace_back(weight.name, weight.parameter.grad().clone());
    }
    results.emplace_back("random", capture_random_state(at::kCPU).cpu);
    return results;
  };
  const auto plain = step();
  model->set_activation_checkpointing(true);
  EXPECT_TRUE(bitwise_equal(step(), plain));
}

TEST_P(Lora, MergedIsAnOrdinaryModelThatComputesTheSame) {
  const auto model = small_model(GetParam());
  const auto names_of = [&] { return model->named_parameters().keys(); };
  const std::vector<std::string> names = names_of();
  const torch::Tensor base = model->forward(small_tokens());
  add_lora(*model, small_lora_options());
  randomise_adapters(*model);
  const torch::Tensor adapted = model->forward(small_tokens());
  merge_lora(*model);
  const torch::Tensor merged = model->forward(small_tokens());
  const double largest = adapted.abs().max().item<double>();
  EXPECT_LT((merged - adapted).abs().max().item<double>(), 1e-5 * largest);
  EXPECT_GT((merged - base).abs().max().item<double>(), 0.01 * largest);
  EXPECT_EQ(names_of(), names);
  EXPECT_EQ(model->lora().rank, 0);
  for (const torch::Tensor& parameter : model->parameters()) EXPECT_TRUE(parameter.requires_grad());
  EXPECT_TRUE(lora_weights(*model).empty());
  add_lora(*model, small_lora_options());
  EXPECT_TRUE(bitwise_equal(model->forward(small_tokens()), merged));
}

INSTANTIATE_TEST_SUITE_P(All, Lora, ::testing::Values("gpt2", "qwen2"),
                         [](const auto& instance) { return std::string(instance.param); });

std::size_t adapters_with(const std::string& model_name, std::vector<std::string> targets) {
  const auto model = small_model(model_name);
  add_lora(*model, small_lora_options(std::move(targets)));
  return lora_weights(*model).size() / 2;
}

TEST(LoraTargets, NameLayersByTheEndsOfTheirNames) {
  // Of three blocks.
  EXPECT_EQ(adapters_with("gpt2", {"c_attn"}), 3u);
  EXPECT_EQ(adapters_with("gpt2", {"c_proj"}), 6u);
  EXPECT_EQ(adapters_with("gpt2", {"mlp.c_proj"}), 3u);
  EXPECT_EQ(adapters_with("gpt2", {"mlp.c_proj", "c_proj"}), 6u);
  EXPECT_EQ(adapters_with("gpt2", {"transformer.h.1.mlp.c_proj"}), 1u);
  EXPECT_EQ(adapters_with("gpt2", {}), 12u);
  EXPECT_EQ(adapters_with("qwen2", {"q_proj", "v_proj"}), 6u);
  EXPECT_EQ(adapters_with("qwen2", {"o_proj"}), 3u);
  EXPECT_EQ(adapters_with("qwen2", {}), 21u);
}

TEST(LoraTargets, OfNoneAreResolved) {
  const auto model = small_model("qwen2");
  add_lora(*model, small_lora_options());
  EXPECT_EQ(model->lora().targets, (std::vector<std::string>{"q_proj", "k_proj", "v_proj", "o_proj",
                                                             "gate_proj", "up_proj", "down_proj"}));
}

TEST(LoraTargets, UnknownAreRefusedAndNothingIsFrozen) {
  const auto model = small_model("gpt2");
  for (const char* target : {"q_proj", "proj", "c_proj.weight", "wte", "ln_1", "attn", ""}) {
    EXPECT_THAT(
        [&] {
          add_lora(*model, small_lora_options({"c_attn", target}));
        },
        ThrowsMessage<InvalidOption>(std::string("targets: \"") + target +
                                     "\" is not legal, expected c_attn, c_proj or c_fc"));
  }
  EXPECT_TRUE(model->parameters().front().requires_grad());
  EXPECT_THAT([&] { adapters_with("qwen2", {"c_attn"}); },
              ThrowsMessage<InvalidOption>(
                  "targets: \"c_attn\" is not legal, expected q_proj, k_proj, v_proj, o_proj, "
                  "gate_proj, up_proj or down_proj"));
}

TEST(LoraOptions, AreLegalByDefaultAndOff) {
  EXPECT_NO_THROW(LoraOptions().validate());
  EXPECT_EQ(LoraOptions().rank, 0);
}

TEST(LoraOptions, RefuseWhatIsNotLegal) {
  const auto expect = [](const LoraOptions& options, const std::string& words) {
    EXPECT_THAT([&] { add_lora(*small_model("gpt2"), options); },
                ThrowsMessage<InvalidOption>(words));
  };
  LoraOptions options;
  expect(options, "rank: 0 is not legal, expected an integer in [1, 65536]");
  options.rank = -1;
  expect(options, "rank: -1 is not legal, expected an integer in [0, 65536]");
  options = small_lora_options();
  options.dropout = 1;
  expect(options, "dropout: 1 is not legal, expected a number in [0, 1)");
  options.dropout = -0.1;
  expect(options, "dropout: -0.1 is not legal, expected a number in [0, 1)");
  options = small_lora_options();
  options.alpha = 0;
  expect(options, "alpha: 0 is not legal, expected a number > 0");
  expect(small_lora_options({"c_attn", "c_fc", "c_attn"}),
         "targets: \"c_attn\" named twice is not legal, expected each name once");
}

TEST(AddLora, WorksOnceAndMergingNeedsIt) {
  const auto model = small_model("gpt2");
  EXPECT_THAT([&] { merge_lora(*model); },
              ThrowsMessage<ContractError>(HasSubstr("the model has no LoRA adapters")));
  add_lora(*model, small_lora_options());
  EXPECT_THAT([&] { add_lora(*model, small_lora_options()); },
              ThrowsMessage<ContractError>(HasSubstr("the model has LoRA adapters already")));
}

}  // namespace
}  // namespace leapverify::models

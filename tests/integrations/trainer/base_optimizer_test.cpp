// Which parameters decay and which Muon steps, by what they are.
#include <gmock/gmock.h>
#include <leapverify/integrations/trainer/base_optimizer.h>
#include <leapverify/runtime/muon.h>

#include "integrations/models/small_pretrained.h"

namespace leapverify::trainer {
namespace {

using ::testing::ElementsAre;

std::vector<double> decays(const torch::optim::Optimizer& optimizer) {
  std::vector<double> found;
  for (const auto& group : optimizer.param_groups()) {
    found.push_back(static_cast<const torch::optim::AdamWOptions&>(group.options()).weight_decay());
  }
  return found;
}

std::vector<std::size_t> sizes(const torch::optim::Optimizer& optimizer) {
  std::vector<std::size_t> found;
  for (const auto& group : optimizer.param_groups()) found.push_back(group.params().size());
  return found;
}

TEST(BaseOptimizer, GroupsMatricesEmbeddingsAndVectors) {
  const auto gpt2 = std::make_shared<models::Gpt2>(testing::small_gpt2_options());
  // 4 matrices, 2 norms of two vectors and 4 biases in each of 3 layers, and the final norm.
  EXPECT_THAT(sizes(*make_base_optimizer({}, *gpt2)), ElementsAre(12, 2, 26));
  models::Qwen2Options options = testing::small_qwen2_options();
  options.tied_embeddings = false;
  const auto qwen2 = std::make_shared<models::Qwen2>(options);
  // 7 matrices, 2 norms and 3 biases in each layer; embedding and head.
  EXPECT_THAT(sizes(*make_base_optimizer({}, *qwen2)), ElementsAre(21, 2, 16));
}

TEST(BaseOptimizer, DecaysWhatTheOptionsSay) {
  const auto model = std::make_shared<models::Gpt2>(testing::small_gpt2_options());
  OptimizerOptions options;
  options.weight_decay = 0.1;
  EXPECT_THAT(decays(*make_base_optimizer(options, *model)), ElementsAre(0.1, 0.1, 0));
  options.decay_embeddings = false;
  options.decay_vectors = true;
  EXPECT_THAT(decays(*make_base_optimizer(options, *model)), ElementsAre(0.1, 0, 0.1));
  EXPECT_EQ(sizes(*make_base_optimizer(options, *model)), sizes(*make_base_optimizer({}, *model)))
      << "the order of parameters, which checkpoints go by, stays";
}

TEST(BaseOptimizer, LeavesOutWhatNeedsNoGradient) {
  const auto model = std::make_shared<models::Gpt2>(testing::small_gpt2_options());
  for (auto& item : model->named_parameters()) {
    if (item.value().dim() < 2) item.value().set_requires_grad(false);
  }
  EXPECT_THAT(sizes(*make_base_optimizer({}, *model)), ElementsAre(12, 2));
}

TEST(BaseOptimizer, MuonStepsTheMatricesOnlyAndAtTheirRate) {
  const auto model = std::make_shared<models::Gpt2>(testing::small_gpt2_options());
  OptimizerOptions options;
  options.name = OptimizerName::kMuon;
  options.lr = 0.5;
  const auto rates = [&] {
    const auto optimizer = make_base_optimizer(options, *model);
    set_rates(*optimizer, options, 0.1);
    std::vector<double> found;
    for (const auto& group : optimizer->param_groups()) {
      found.push_back(group.options().get_lr());
    }
    return found;
  };
  std::vector<bool> orthogonalised;
  for (const auto& group : make_base_optimizer(options, *model)->param_groups()) {
    orthogonalised.push_back(static_cast<const MuonOptions&>(group.options()).orthogonalised);
  }
  EXPECT_THAT(orthogonalised, ElementsAre(true, false, false));
  EXPECT_THAT(rates(), ElementsAre(0.05, 0.05, 0.05));
  options.muon.lr = 2;
  EXPECT_THAT(rates(), ElementsAre(0.2, 0.05, 0.05));
}

}  // namespace
}  // namespace leapverify::trainer

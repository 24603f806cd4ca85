#include <leapverify/integrations/trainer/base_optimizer.h>
#include <leapverify/runtime/muon.h>

#include <set>
#include <string>
#include <utility>

namespace leapverify::trainer {
namespace {

namespace optim = torch::optim;

constexpr ParameterKind kKinds[] = {ParameterKind::kMatrix, ParameterKind::kEmbedding,
                                    ParameterKind::kVector};

std::set<at::TensorImpl*> embeddings_of(const torch::nn::Module& model) {
  std::set<at::TensorImpl*> found;
  for (const auto& module : model.modules()) {
    if (const auto* embedding = dynamic_cast<const torch::nn::EmbeddingImpl*>(module.get())) {
      found.insert(embedding->weight.unsafeGetTensorImpl());
    }
  }
  return found;
}

std::vector<torch::Tensor> parameters_of(const torch::nn::Module& model, ParameterKind kind) {
  const std::set<at::TensorImpl*> embeddings = embeddings_of(model);
  std::vector<torch::Tensor> found;
  for (const auto& item : model.named_parameters()) {
    const torch::Tensor& parameter = item.value();
    const bool embeds =
        embeddings.count(parameter.unsafeGetTensorImpl()) > 0 || item.key() == "head";
    const ParameterKind its_kind = parameter.dim() < 2 ? ParameterKind::kVector
                                   : embeds            ? ParameterKind::kEmbedding
                                                       : ParameterKind::kMatrix;
    if (its_kind == kind && parameter.requires_grad()) found.push_back(parameter);
  }
  return found;
}

double decay_of(const OptimizerOptions& options, ParameterKind kind) {
  const bool decays = kind == ParameterKind::kMatrix ||
                      (kind == ParameterKind::kEmbedding && options.decay_embeddings) ||
                      (kind == ParameterKind::kVector && options.decay_vectors);
  return decays ? options.weight_decay : 0;
}

void set_adamw(optim::AdamWOptions* group, const OptimizerOptions& options, ParameterKind kind) {
  group->lr(options.lr)
      .betas({options.beta1, options.beta2})
      .eps(options.eps)
      .weight_decay(decay_of(options, kind));
}

std::unique_ptr<optim::OptimizerOptions> group_options(const OptimizerOptions& options,
                                                       ParameterKind kind) {
  if (options.name == OptimizerName::kSgd) {
    return std::make_unique<optim::SGDOptions>(optim::SGDOptions(options.lr)
                                                   .momentum(options.momentum)
                                                   .weight_decay(decay_of(options, kind)));
  }
  if (options.name == OptimizerName::kMuon) {
    auto group = std::make_unique<MuonOptions>();
    set_adamw(group.get(), options, kind);
    group->orthogonalised = kind == ParameterKind::kMatrix;
    group->momentum = options.muon.momentum;
    group->rate = options.muon.rate;
    return group;
  }
  auto group = std::make_unique<optim::AdamWOptions>();
  set_adamw(group.get(), options, kind);
  return group;
}

}  // namespace

std::unique_ptr<optim::Optimizer> make_base_optimizer(const OptimizerOptions& options,
                                                      torch::nn::Module& model) {
  std::vector<optim::OptimizerParamGroup> groups;
  for (const ParameterKind kind : kKinds) {
    std::vector<torch::Tensor> parameters = parameters_of(model, kind);
    if (!parameters.empty())
      groups.emplace_back(std::move(parameters), group_options(options, kind));
  }
  switch (options.name) {
    case OptimizerName::kSgd:
      return std::make_unique<optim::SGD>(groups, optim::SGDOptions(options.lr));
    case OptimizerName::kMuon:
      return std::make_unique<Muon>(groups);
    case OptimizerName::kAdamW:
      return std::make_unique<FusedAdamW>(groups);
  }
  return nullptr;
}

void set_rates(optim::Optimizer& optimizer, const OptimizerOptions& options, double factor) {
  for (optim::OptimizerParamGroup& group : optimizer.param_groups()) {
    const auto* muon = dynamic_cast<const MuonOptions*>(&group.options());
    const bool own = muon != nullptr && muon->orthogonalised && options.muon.lr > 0;
    group.options().set_lr((own ? options.muon.lr : options.lr) * factor);
  }
}

}  // namespace leapverify::trainer

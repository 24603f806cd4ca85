#include <leapverify/integrations/models/gpt.h>
#include <leapverify/integrations/models/language_model.h>

namespace leapverify::models {
namespace {

/// cross_entropy_loss()'s own default.
constexpr std::int64_t kIgnoredTarget = -100;

}  // namespace

torch::Tensor sequence_losses(LanguageModel& model, const torch::Tensor& hidden,
                              const torch::Tensor& targets) {
  LV_CHECK(hidden.dim() == 3 && targets.sizes() == hidden.sizes().slice(0, 2),
           "activations " << hidden.sizes() << " with targets " << targets.sizes());
  const torch::Tensor losses =
      torch::cross_entropy_loss(model.logits(hidden).flatten(0, 1), targets.flatten(),
                                /*weight=*/{}, at::Reduction::None);
  // The loss of an ignored target is 0.
  return losses.view(targets.sizes()).sum(1) / targets.ne(kIgnoredTarget).sum(1);
}

std::shared_ptr<LanguageModel> make_model(const ModelOptions& options) {
  switch (options.name) {
    case ModelName::kGpt:
      return std::make_shared<Gpt>(options.gpt);
  }
  return nullptr;
}

}  // namespace leapverify::models

// Small models with adapters that count.
#pragma once

#include <leapverify/integrations/models/lora.h>

#include "integrations/models/small_pretrained.h"

namespace leapverify::testing {

inline std::shared_ptr<models::PretrainedModel> small_model(const std::string& name,
                                                            double dropout = 0) {
  torch::manual_seed(7);
  if (name == "gpt2") return std::make_shared<models::Gpt2>(small_gpt2_options(dropout));
  return std::make_shared<models::Qwen2>(small_qwen2_options(dropout));
}

inline models::LoraOptions small_lora_options(std::vector<std::string> targets = {}) {
  models::LoraOptions options;
  options.rank = 4;
  options.targets = std::move(targets);
  return options;
}

/// Fresh adapters add nothing.
inline void randomise_adapters(const models::PretrainedModel& model) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(19);
  for (const models::StoredWeight& weight : lora_weights(model)) weight.parameter.normal_(0, 0.2);
}

inline torch::Tensor small_tokens() {
  torch::manual_seed(23);
  return torch::randint(97, {4, 16}, torch::kInt64);
}

}  // namespace leapverify::testing

// A GPT that runs in milliseconds, the same each time.
#pragma once

#include <leapverify/integrations/models/gpt.h>

namespace leapverify::testing {

inline models::GptOptions small_options() {
  models::GptOptions options;
  options.context = 16;
  options.width = 24;
  options.heads = 3;
  options.layers = 2;
  return options;
}

inline std::shared_ptr<models::Gpt> small_gpt(const models::GptOptions& options = small_options()) {
  torch::manual_seed(7);
  return std::make_shared<models::Gpt>(options);
}

inline torch::Tensor random_tokens(std::int64_t batch, std::int64_t time) {
  torch::manual_seed(11);
  return torch::randint(256, {batch, time}, torch::kInt64);
}

}  // namespace leapverify::testing

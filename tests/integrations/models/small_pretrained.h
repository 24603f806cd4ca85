// Models of the kinds that files hold, which run in milliseconds.
#pragma once

#include <leapverify/integrations/models/gpt2.h>
#include <leapverify/integrations/models/qwen2.h>

namespace leapverify::testing {

inline models::Gpt2Options small_gpt2_options(double dropout = 0) {
  models::Gpt2Options options;
  options.vocabulary = 97;
  options.context = 16;
  options.width = 24;
  options.heads = 3;
  options.layers = 3;
  options.inner_width = 40;
  options.embedding_dropout = options.attention_dropout = options.residual_dropout = dropout;
  return options;
}

inline models::Qwen2Options small_qwen2_options(double dropout = 0) {
  models::Qwen2Options options;
  options.vocabulary = 97;
  options.context = 16;
  options.width = 32;
  options.inner_width = 40;
  options.layers = 3;
  options.heads = 4;
  options.key_value_heads = 2;
  options.attention_dropout = dropout;
  return options;
}

}  // namespace leapverify::testing

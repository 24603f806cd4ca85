#include <leapverify/integrations/models/gpt.h>

namespace leapverify::models {
namespace {

Gpt2Options as_gpt2(const GptOptions& options) {
  options.validate();
  Gpt2Options gpt2;
  gpt2.vocabulary = options.vocabulary;
  gpt2.context = options.context;
  gpt2.width = options.width;
  gpt2.heads = options.heads;
  gpt2.layers = options.layers;
  gpt2.inner_width = 4 * options.width;
  gpt2.embedding_dropout = options.dropout;
  gpt2.attention_dropout = options.dropout;
  gpt2.residual_dropout = options.dropout;
  return gpt2;
}

}  // namespace

Gpt::Gpt(const GptOptions& options) : Gpt2(as_gpt2(options)) {}

}  // namespace leapverify::models

#include <leapverify/integrations/models/gpt2_options.h>

namespace leapverify::models {

void Gpt2Options::describe(FieldVisitor& visitor) {
  const Range share = {0, 1, false, true};
  visitor.field("vocab_size", vocabulary, between(1, 1 << 24), "tokens the model knows");
  visitor.field("n_positions", context, between(1, 1 << 20), "most tokens of a sequence");
  visitor.field("n_embd", width, between(1, 1 << 16),
                "size of the residual stream, a multiple of n_head");
  visitor.field("n_head", heads, between(1, 1 << 10), "attention heads of a layer");
  visitor.field("n_layer", layers, between(1, 1 << 10), "transformer blocks");
  visitor.field("n_inner", inner_width, between(1, 1 << 20), "size inside of an MLP");
  visitor.field("embd_pdrop", embedding_dropout, share, "dropout of the embeddings");
  visitor.field("attn_pdrop", attention_dropout, share, "dropout of the attention weights");
  visitor.field("resid_pdrop", residual_dropout, share, "dropout of what a layer adds");
  visitor.field("layer_norm_epsilon", norm_epsilon, above(0), "added to the variance");
  visitor.field("initializer_range", initial_deviation, at_least(0),
                "standard deviation of fresh weights");
}

void Gpt2Options::validate() const {
  validate_fields(*this);
  if (width % heads != 0) {
    throw InvalidOption("n_embd", std::to_string(width),
                        "a multiple of n_head = " + std::to_string(heads));
  }
}

}  // namespace leapverify::models

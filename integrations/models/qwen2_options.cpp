#include <leapverify/integrations/models/qwen2_options.h>

namespace leapverify::models {

void Qwen2Options::describe(FieldVisitor& visitor) {
  visitor.field("vocab_size", vocabulary, between(1, 1 << 24), "tokens the model knows");
  visitor.field("max_position_embeddings", context, between(1, 1 << 24),
                "most tokens of a sequence");
  visitor.field("hidden_size", width, between(1, 1 << 16),
                "size of the residual stream, an even multiple of num_attention_heads");
  visitor.field("intermediate_size", inner_width, between(1, 1 << 20), "size inside of an MLP");
  visitor.field("num_hidden_layers", layers, between(1, 1 << 10), "transformer blocks");
  visitor.field("num_attention_heads", heads, between(1, 1 << 10), "query heads of a layer");
  visitor.field("num_key_value_heads", key_value_heads, between(1, 1 << 10),
                "key and value heads of a layer, a divisor of num_attention_heads");
  visitor.field("rope_theta", rope_base, above(0), "base of the rotary wavelengths");
  visitor.field("rms_norm_eps", norm_epsilon, above(0), "added to the mean square");
  visitor.field("attention_dropout", attention_dropout, Range{0, 1, false, true},
                "dropout of the attention weights");
  visitor.field("initializer_range", initial_deviation, at_least(0),
                "standard deviation of fresh weights");
  visitor.field("tie_word_embeddings", tied_embeddings,
                "whether the output head is the token embedding");
}

void Qwen2Options::validate() const {
  validate_fields(*this);
  // Rotary positions turn the two halves of each head into one another.
  if (width % (2 * heads) != 0) {
    throw InvalidOption("hidden_size", std::to_string(width),
                        "an even multiple of num_attention_heads = " + std::to_string(heads));
  }
  if (heads % key_value_heads != 0) {
    throw InvalidOption("num_key_value_heads", std::to_string(key_value_heads),
                        "a divisor of num_attention_heads = " + std::to_string(heads));
  }
}

}  // namespace leapverify::models

#include <leapverify/integrations/models/gpt_options.h>

namespace leapverify::models {

void GptOptions::describe(FieldVisitor& visitor) {
  visitor.field("vocabulary", vocabulary, at_least(256), "tokens the model knows; bytes need 256");
  visitor.field("context", context, between(1, 1 << 20), "tokens of a sequence");
  visitor.field("width", width, between(1, 1 << 16),
                "size of the residual stream, a multiple of heads");
  visitor.field("heads", heads, between(1, 1 << 10), "attention heads of a layer");
  visitor.field("layers", layers, between(1, 1 << 10), "transformer blocks");
  visitor.field("dropout", dropout, Range{0, 1, false, true},
                "share of activations that training zeroes");
}

void GptOptions::validate() const {
  validate_fields(*this);
  if (width % heads != 0) {
    throw InvalidOption("width", std::to_string(width),
                        "a multiple of heads = " + std::to_string(heads));
  }
}

}  // namespace leapverify::models

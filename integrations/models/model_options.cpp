#include <leapverify/integrations/models/model_options.h>

namespace leapverify::models {

void ModelOptions::describe(FieldVisitor& visitor) {
  visitor.choice("name", name, "the model");
  gpt.describe(visitor);
}

}  // namespace leapverify::models

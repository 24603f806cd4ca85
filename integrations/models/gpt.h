// A GPT small enough to train on two CPU cores: a GPT-2 of another size, over bytes.
#pragma once

#include <leapverify/integrations/models/gpt2.h>

namespace leapverify::models {

class Gpt : public Gpt2 {
 public:
  /// Initialised as GPT-2, with deviation 0.02. Throws InvalidOption.
  explicit Gpt(const GptOptions& options);
};

}  // namespace leapverify::models

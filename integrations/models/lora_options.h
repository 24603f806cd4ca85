// Low-rank adapters of a model. Apart from lora.h, so that configs can be read without torch.
// Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685.
#pragma once

#include <leapverify/regimes/field.h>

#include <cstdint>
#include <string>
#include <vector>

namespace leapverify::models {

/// The defaults are those of PEFT, but for the layers.
struct LoraOptions {
  /// Rows of A and columns of B; 0: no adapters.
  std::int64_t rank = 0;
  double alpha = 8;
  /// Whether alpha is divided by √rank in place of the rank.
  /// Source: Kalajdzievski, A Rank Stabilization Scaling Factor, arXiv 2312.03732.
  bool rank_stabilized = false;
  double dropout = 0;
  /// Each names the layers whose full names in a file of weights it ends, whole parts of them:
  /// "c_proj", "mlp.c_proj". Empty: all linear layers of the blocks.
  std::vector<std::string> targets;
  /// What else stands in the adapter_config.json that the options are from or will be, as a JSON
  /// object. Written with the adapters.
  std::string other_fields = "{}";

  /// Factor of what an adapter adds.
  double scale() const;

  /// Throws InvalidOption for the first option that is not legal by itself.
  void validate() const;

  /// Throws InvalidOption for rank 0, where there must be adapters.
  void require_rank() const;

  void describe(FieldVisitor& visitor);
};

}  // namespace leapverify::models

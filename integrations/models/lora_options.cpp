#include <leapverify/integrations/models/lora_options.h>

#include <algorithm>
#include <cmath>

namespace leapverify::models {
namespace {

constexpr double kMaxRank = 1 << 16;

}  // namespace

void LoraOptions::describe(FieldVisitor& visitor) {
  visitor.field("rank", rank, between(0, kMaxRank),
                "rank of the adapters, which alone are trained; 0: none, all weights are trained");
  visitor.field("alpha", alpha, above(0), "what an adapter adds is scaled by alpha / rank");
  visitor.field("rank_stabilized", rank_stabilized, "scale by alpha / sqrt(rank) instead");
  visitor.field("dropout", dropout, Range{0, 1, false, true},
                "share of an adapter's inputs that training zeroes");
  visitor.field("targets", targets,
                "layers that get adapters, as in [q_proj, v_proj] for Qwen2 or [c_attn] for GPT-2; "
                "[]: all linear layers of the blocks");
}

double LoraOptions::scale() const {
  const auto of_rank = static_cast<double>(rank);
  return alpha / (rank_stabilized ? std::sqrt(of_rank) : of_rank);
}

void LoraOptions::validate() const {
  validate_fields(*this);
  for (auto target = targets.begin(); target != targets.end(); ++target) {
    if (std::find(targets.begin(), target, *target) != target) {
      throw InvalidOption("targets", '"' + *target + "\" named twice", "each name once");
    }
  }
}

void LoraOptions::require_rank() const {
  if (rank == 0) throw InvalidOption("rank", "0", between(1, kMaxRank).text("an integer"));
}

}  // namespace leapverify::models

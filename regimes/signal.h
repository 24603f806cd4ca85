// The numbers that regimes are told from: how alike two looks at a model in training are.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace leapverify {

/// Mean of the per-probe cosines: the published signal. NaN for none.
double mean_cosine(const std::vector<double>& cosines);

/// The newest moves along a trajectory of weights θ_0 (the newest), θ_1, θ_2.
struct LastMoves {
  /// ‖θ_0 − θ_1‖.
  double length = 0;
  /// ⟨θ_0 − θ_1, θ_1 − θ_2⟩ / (‖θ_0 − θ_1‖ · ‖θ_1 − θ_2‖), within [−1, 1]: 1 on a straight line.
  /// NaN where a move has no length or is not finite; absent with two points only.
  std::optional<double> cosine;
};

/// From the inner products gram[s][j][k] = ⟨θ_j − θ_0, θ_k − θ_0⟩ of every segment s of the weights
/// (kernels/gram.h), which are added up over the segments in float64.
/// Shape: [segments × points × points], points 2 or more. Throws ContractError for another.
LastMoves last_moves(const std::vector<double>& gram, std::int64_t points);

/// A cosine, and the learning rate it was taken at: the mean over the steps since the last
/// observation.
struct CosineAtRate {
  double cosine = 0;
  double rate = 0;
};

/// What the cosine would be at another learning rate: 1 − (1 − cosine) · (rate / measured.rate)².
/// The weights move in proportion to the rate, and what turns with them turns by an angle φ in
/// proportion to the move, of which a small one has 1 − cos φ ≈ φ² / 2. At an equal rate it is
/// bitwise the cosine. Not finite where the rate was 0: what stood still tells nothing. How far
/// gradient noise turns a move does not depend on the rate, and is overrated after a decay.
double cosine_at_rate(const CosineAtRate& measured, double rate);

}  // namespace leapverify

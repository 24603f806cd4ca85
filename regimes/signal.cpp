#include <leapverify/kernels/error.h>
#include <leapverify/regimes/signal.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace leapverify {

double mean_cosine(const std::vector<double>& cosines) {
  if (cosines.empty()) return std::numeric_limits<double>::quiet_NaN();
  return std::accumulate(cosines.begin(), cosines.end(), 0.0) / static_cast<double>(cosines.size());
}

LastMoves last_moves(const std::vector<double>& gram, std::int64_t points) {
  const auto row = static_cast<std::size_t>(points);
  LV_CHECK(
      points >= 2 && gram.size() % (row * row) == 0,
      "Gram matrices of " << points << " points, at least 2, in " << gram.size() << " numbers");
  double newest = 0, both = 0, two_back = 0;
  for (std::size_t segment = 0; segment < gram.size(); segment += row * row) {
    newest += gram[segment + row + 1];
    if (points == 2) continue;
    both += gram[segment + row + 2];
    two_back += gram[segment + 2 * row + 2];
  }
  LastMoves moves{std::sqrt(newest), std::nullopt};
  if (points == 2) return moves;
  // With a = θ_1 − θ_0 and b = θ_2 − θ_0 the moves are −a and a − b.
  const double square_before = newest - 2 * both + two_back;
  const double cosine = (both - newest) / (moves.length * std::sqrt(square_before));
  moves.cosine = std::clamp(cosine, -1.0, 1.0);
  return moves;
}

double cosine_at_rate(const CosineAtRate& measured, double rate) {
  const double ratio = rate / measured.rate;
  // 1 − (1 − cosine) · ratio², in a form that a ratio of 1 leaves exact.
  return measured.cosine - (1 - measured.cosine) * (ratio * ratio - 1);
}

}  // namespace leapverify

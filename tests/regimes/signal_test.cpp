// Signals: the cosine of the last two moves from a Gram matrix, and cosines at another rate.
#include <gtest/gtest.h>
#include <leapverify/kernels/error.h>
#include <leapverify/regimes/signal.h>

#include <cmath>

namespace leapverify {
namespace {

using Vector = std::vector<double>;

/// [1 × points × points], as kernels::gram gives it with the first point as reference.
Vector gram_of(const std::vector<Vector>& points) {
  Vector gram;
  for (const Vector& a : points) {
    for (const Vector& b : points) {
      double sum = 0;
      for (std::size_t i = 0; i < a.size(); ++i) {
        sum += (a[i] - points[0][i]) * (b[i] - points[0][i]);
      }
      gram.push_back(sum);
    }
  }
  return gram;
}

TEST(MeanCosine, IsTheMean) {
  EXPECT_DOUBLE_EQ(mean_cosine({1, 0.5}), 0.75);
  EXPECT_TRUE(std::isnan(mean_cosine({})));
}

TEST(LastMoves, CosineIsThatOfTheAngleBetweenTheMoves) {
  // Newest first: the moves are (3, 4) after (5, 0).
  const LastMoves moves = last_moves(gram_of({{8, 4}, {5, 0}, {0, 0}}), 3);
  EXPECT_DOUBLE_EQ(moves.length, 5);
  EXPECT_DOUBLE_EQ(moves.cosine.value(), 3.0 / 5);
  EXPECT_EQ(last_moves(gram_of({{3, 0}, {1, 0}, {0, 0}}), 3).cosine, 1);
  EXPECT_EQ(last_moves(gram_of({{0, 0}, {7, 0}, {0, 0}}), 3).cosine, -1);
  EXPECT_EQ(last_moves(gram_of({{2, 3}, {2, 0}, {0, 0}}), 3).cosine, 0);
}

TEST(LastMoves, AddsUpTheSegments) {
  // One trajectory cut into two segments, of moves (1, 2 | 2) after (0, 3 | 4).
  const std::vector<Vector> first = {{1, 5}, {0, 3}, {0, 0}};
  const std::vector<Vector> second = {{6}, {4}, {0}};
  Vector gram = gram_of(first);
  const Vector other = gram_of(second);
  gram.insert(gram.end(), other.begin(), other.end());
  const LastMoves moves = last_moves(gram, 3);
  EXPECT_DOUBLE_EQ(moves.length, 3);
  EXPECT_DOUBLE_EQ(moves.cosine.value(), 14.0 / (3 * 5));
}

TEST(LastMoves, OfTwoPointsHaveALengthOnly) {
  const LastMoves moves = last_moves(gram_of({{3, 4}, {0, 0}}), 2);
  EXPECT_DOUBLE_EQ(moves.length, 5);
  EXPECT_FALSE(moves.cosine.has_value());
}

TEST(LastMoves, WithoutALengthHaveNoAngle) {
  EXPECT_TRUE(std::isnan(last_moves(gram_of({{1, 0}, {1, 0}, {0, 0}}), 3).cosine.value()));
  EXPECT_TRUE(std::isnan(last_moves(gram_of({{1, 0}, {0, 0}, {0, 0}}), 3).cosine.value()));
  EXPECT_TRUE(std::isnan(last_moves(gram_of({{std::nan("")}, {1}, {0}}), 3).cosine.value()));
}

TEST(LastMoves, RefuseAGramMatrixOfAnotherSize) {
  EXPECT_THROW(last_moves(Vector(8), 3), ContractError);
  EXPECT_THROW(last_moves(Vector(1), 1), ContractError);
}

TEST(CosineAtRate, AtItsOwnRateIsBitwiseTheCosine) {
  for (const double cosine : {1.0, 0.9995, 0.1, 1e-17, 0.0, -1.0 / 3, -1.0}) {
    for (const double rate : {3e-4, 0.1, 7.0})
      EXPECT_EQ(cosine_at_rate({cosine, rate}, rate), cosine);
  }
}

TEST(CosineAtRate, FollowsASmallAngleThatGrowsWithTheRate) {
  for (const double factor : {0.1, 2.0, 5.0}) {
    const double expected = 1 - std::cos(factor * 0.01);
    EXPECT_NEAR(1 - cosine_at_rate({std::cos(0.01), 0.2}, 0.2 * factor), expected, 1e-3 * expected)
        << factor;
  }
}

TEST(CosineAtRate, IsNotFiniteAtRateZero) {
  EXPECT_FALSE(std::isfinite(cosine_at_rate({1, 0}, 0)));
  EXPECT_FALSE(std::isfinite(cosine_at_rate({1, 0}, 0.1)));
  EXPECT_FALSE(std::isfinite(cosine_at_rate({0.5, 0}, 0.1)));
}

}  // namespace
}  // namespace leapverify

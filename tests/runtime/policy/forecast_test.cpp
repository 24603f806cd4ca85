// Forecasts of the loss, and how far below them chance reaches.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/forecast.h>

#include <cmath>
#include <limits>
#include <random>

namespace leapverify::policy {
namespace {

TEST(Forecast, CarriesTheLineOfTheLastPointsOn) {
  Forecast forecast(20);
  EXPECT_FALSE(forecast.at(50));
  for (const std::int64_t step : {0, 10, 20, 30, 40, 50}) {
    forecast.add(step, 9 - 0.01 * static_cast<double>(step));
  }
  EXPECT_NEAR(forecast.at(70).value(), 8.3, 1e-12);
  // The first points are off the line, and too long ago to count.
  Forecast bent(20);
  for (const std::int64_t step : {0, 10}) bent.add(step, 100);
  for (const std::int64_t step : {20, 30, 40, 50}) {
    bent.add(step, 9 - 0.01 * static_cast<double>(step));
  }
  EXPECT_NEAR(bent.at(70).value(), 8.3, 1e-12);
}

TEST(Forecast, ErrorsAreThoseOfForecastsMadeAheadOfTime) {
  Forecast forecast(20);
  // A line with a step down of 1 at 40: forecasts for 40 and 50 were made from points up to 20, 30.
  for (const std::int64_t step : {0, 10, 20, 30}) forecast.add(step, 5);
  forecast.add(40, 4);
  forecast.add(50, 4);
  ASSERT_EQ(forecast.state().errors.size(), 3u) << "30, 40 and 50 had two points far enough back";
  EXPECT_DOUBLE_EQ(forecast.state().errors[0], 0);
  EXPECT_DOUBLE_EQ(forecast.state().errors[1], 1);
  EXPECT_DOUBLE_EQ(forecast.state().errors[2], 1);
}

TEST(Forecast, WithoutALeapTheLimitIsUndershotWithAChanceOfAlphaAtTheMost) {
  constexpr double kAlpha = 0.05;
  std::mt19937_64 random(20);
  std::normal_distribution<double> noise(0, 0.1);
  int judged = 0;
  int below = 0;
  for (int run = 0; run < 400; ++run) {
    Forecast forecast(20);
    std::int64_t step = 0;
    const auto loss = [&] { return 3 - 0.001 * static_cast<double>(step) + noise(random); };
    for (; step < 600; step += 10) forecast.add(step, loss());
    const std::optional<double> limit = forecast.limit(step + 10, kAlpha);
    ASSERT_TRUE(limit);
    step += 10;
    ++judged;
    below += loss() < *limit ? 1 : 0;
  }
  EXPECT_LE(below, judged * 0.085) << "alpha plus three standard errors";
  EXPECT_GE(below, judged * 0.015) << "and not by being blind";
}

TEST(Forecast, JudgesNothingBeforeEnoughErrorsAreKnown) {
  Forecast forecast(10);
  for (std::int64_t i = 0; i < 20; ++i) forecast.add(10 * i, 1);
  ASSERT_EQ(forecast.state().errors.size(), 18u);
  EXPECT_FALSE(forecast.limit(200, 0.05));
  forecast.add(200, 1);
  EXPECT_TRUE(forecast.limit(210, 0.05));
}

TEST(Forecast, LimitLiesTheRankOfAlphaBelowTheForecast) {
  Forecast forecast(10);
  Forecast::State state;
  state.points = {{0, 5}, {10, 5}};
  for (int i = 1; i <= 19; ++i) state.errors.push_back(i);
  forecast.restore(state);
  // Of 20 the one to come is the largest with a chance of 5 %, one of the two largest with 10 %.
  EXPECT_DOUBLE_EQ(forecast.limit(20, 0.05).value(), 5 - 19);
  EXPECT_DOUBLE_EQ(forecast.limit(20, 0.1).value(), 5 - 18);
}

TEST(Forecast, InterruptKeepsTheErrorsOnly) {
  Forecast forecast(10);
  for (std::int64_t i = 0; i < 30; ++i) forecast.add(10 * i, 1);
  const std::size_t errors = forecast.state().errors.size();
  forecast.interrupt();
  EXPECT_FALSE(forecast.at(300));
  forecast.add(300, 0.5);
  forecast.add(310, 0.5);
  EXPECT_EQ(forecast.state().errors.size(), errors) << "the jump down was no forecast's error";
  EXPECT_DOUBLE_EQ(forecast.limit(320, 0.05).value(), 0.5);
}

TEST(Forecast, LossThatIsNotFiniteIsLeftOut) {
  Forecast forecast(10);
  forecast.add(0, 1);
  forecast.add(10, std::nan(""));
  forecast.add(20, std::numeric_limits<double>::infinity());
  EXPECT_FALSE(forecast.at(30));
}

TEST(Forecast, RestoredOneGoesOnAlike) {
  Forecast first(20);
  for (std::int64_t i = 0; i < 40; ++i) first.add(10 * i, std::sin(static_cast<double>(i)));
  Forecast second(20);
  second.restore(first.state());
  first.add(400, 0.3);
  second.add(400, 0.3);
  EXPECT_EQ(first.limit(420, 0.1), second.limit(420, 0.1));
}

}  // namespace
}  // namespace leapverify::policy

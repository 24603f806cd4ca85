// A portfolio asks those first that pay, and those that do not more and more rarely.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/portfolio.h>

namespace leapverify::policy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

PredictorOptions of(std::vector<std::string> names) {
  PredictorOptions options;
  options.kind = PredictorKind::kPortfolio;
  options.portfolio = std::move(names);
  return options;
}

TEST(Portfolio, OfAnyOtherPredictorIsThatPredictorAlone) {
  PredictorOptions options;
  options.kind = PredictorKind::kQuadratic;
  const Portfolio portfolio(options);
  ASSERT_EQ(portfolio.members().size(), 1u);
  EXPECT_EQ(portfolio.members()[0].kind(), PredictorKind::kQuadratic);
  EXPECT_EQ(portfolio.snapshots_needed(), 3);
  EXPECT_THAT(portfolio.due(), ElementsAre(0));
}

TEST(Portfolio, NeedsWhatItsMembersNeed) {
  const Portfolio portfolio(of({"linear", "low_rank"}));
  EXPECT_EQ(portfolio.snapshots_needed(), 4);
  EXPECT_TRUE(portfolio.needs_gram());
  EXPECT_FALSE(Portfolio(of({"linear", "average"})).needs_gram());
  EXPECT_TRUE(Portfolio(of({"linear", "quadratic_code"})).has_row_per_tensor());
}

TEST(Portfolio, AsksTheWinnersFirstAndLosersMoreRarely) {
  Portfolio portfolio(of({"linear", "average", "ema_trend"}));
  EXPECT_THAT(portfolio.due(), ElementsAre(0, 1, 2));
  portfolio.record({0, 1, 2}, 1);
  // The others sit out one try.
  EXPECT_THAT(portfolio.due(), ElementsAre(1));
  portfolio.record({1}, 1);
  EXPECT_THAT(portfolio.due(), ElementsAre(1, 0, 2));
  portfolio.record({1, 0, 2}, 2);
  EXPECT_THAT(portfolio.due(), ElementsAre(2));
  portfolio.record({2}, std::nullopt);
  // Member 1 sat out one try, member 2 is to; member 0 lost twice in a row and sits out three.
  EXPECT_THAT(portfolio.due(), ElementsAre(1));
}

TEST(Portfolio, WaitDoublesUpToItsLimit) {
  Portfolio portfolio(of({"linear", "average"}));
  std::vector<std::int64_t> asked_at;
  for (std::int64_t attempt = 0; attempt < 60; ++attempt) {
    const std::vector<std::size_t> asked = portfolio.due();
    if (std::find(asked.begin(), asked.end(), 1u) != asked.end()) asked_at.push_back(attempt);
    portfolio.record(asked, 0);
  }
  EXPECT_THAT(asked_at, ElementsAre(0, 2, 6, 14, 30, 46));
}

TEST(Portfolio, SomebodyIsAlwaysAsked) {
  Portfolio portfolio(of({"linear", "average"}));
  for (int attempt = 0; attempt < 40; ++attempt) {
    const std::vector<std::size_t> asked = portfolio.due();
    ASSERT_FALSE(asked.empty());
    portfolio.record(asked, std::nullopt);
  }
}

TEST(Portfolio, GoesOnFromItsState) {
  Portfolio first(of({"linear", "average", "ema_trend"}));
  first.record({0, 1, 2}, 2);
  first.record({2}, 2);
  Portfolio second(of({"linear", "average", "ema_trend"}));
  second.restore(first.state());
  EXPECT_EQ(second.due(), first.due());
  EXPECT_THAT(second.due(), ElementsAre(2, 0, 1));
  EXPECT_THROW(second.restore({}), ContractError);
}

TEST(Portfolio, RefusesWhatItCannotBeMadeOf) {
  const auto refusal = [](std::vector<std::string> names) -> std::string {
    try {
      const Portfolio portfolio(of(std::move(names)));
    } catch (const InvalidOption& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(refusal({"linaer"}), HasSubstr("portfolio: linaer is not legal, expected linear"));
  EXPECT_THAT(refusal({"portfolio"}), HasSubstr("portfolio: portfolio"));
  EXPECT_THAT(refusal({"linear", "linear"}), HasSubstr("given twice"));
  EXPECT_THAT(refusal({}), HasSubstr("at least one"));
}

}  // namespace
}  // namespace leapverify::policy

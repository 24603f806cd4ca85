#include <gmock/gmock.h>
#include <leapverify/runtime/policy/collective.h>

#include <cmath>
#include <limits>

#include "thread_ranks.h"

namespace leapverify {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Collective, GatherPutsTheValuesOfEachRankInItsPlaceBitwise) {
  const double tiny = std::numeric_limits<double>::denorm_min();
  std::vector<std::vector<std::vector<double>>> gathered(3);
  EXPECT_THAT(on_ranks(3,
                       [&](Collective& ranks) {
                         const double own = 0.1 * (ranks.rank() + 1);
                         gathered[static_cast<std::size_t>(ranks.rank())] =
                             gather(ranks, {own, ranks.rank() == 1 ? tiny : HUGE_VAL});
                       }),
              Each(IsEmpty()));
  for (const auto& rows : gathered) {
    EXPECT_THAT(rows, ElementsAre(ElementsAre(0.1 * 1, HUGE_VAL), ElementsAre(0.1 * 2, tiny),
                                  ElementsAre(0.1 * 3, HUGE_VAL)));
  }
}

TEST(Collective, BroadcastGivesTheRootsValuesAndTexts) {
  EXPECT_THAT(on_ranks(3,
                       [](Collective& ranks) {
                         std::vector<double> values = {1.0 + ranks.rank(), -2.0};
                         broadcast(ranks, values, 2);
                         EXPECT_THAT(values, ElementsAre(3.0, -2.0));
                         const std::string own = ranks.rank() == 1 ? "größer" : "of another length";
                         EXPECT_EQ(broadcast(ranks, own, 1), "größer");
                         barrier(ranks);
                       }),
              Each(IsEmpty()));
}

TEST(Collective, RanksAreNamedAsOneReadsThem) {
  EXPECT_EQ(rank_names({2}), "rank 2");
  EXPECT_EQ(rank_names({0, 1}), "ranks 0 and 1");
  EXPECT_EQ(rank_names({0, 1, 3}), "ranks 0, 1 and 3");
}

TEST(Collective, WhoeverHoldsSomethingElseIsNamedOnAllRanks) {
  const auto held = [](std::vector<std::string> texts) {
    return on_ranks(static_cast<int>(texts.size()), [&](Collective& ranks) {
      require_same(ranks, "config", texts[static_cast<std::size_t>(ranks.rank())]);
    });
  };
  EXPECT_THAT(held({"a", "a", "a"}), Each(IsEmpty()));
  EXPECT_THAT(held({"a", "a", "b"}), Each("config: rank 2 has another than ranks 0 and 1"));
  EXPECT_THAT(held({"b", "a", "a", "c"}),
              Each("config: ranks 0 and 3 have another than ranks 1 and 2"));
  EXPECT_THAT(held({"a", "b"}), Each("config: rank 1 has another than rank 0"));
}

TEST(Collective, DigestsThatDifferInTheirLowestBitDiffer) {
  EXPECT_THAT(on_ranks(2,
                       [](Collective& ranks) {
                         require_same(ranks, "weights",
                                      0xfedcba9876543210ull + static_cast<unsigned>(ranks.rank()));
                       }),
              Each(HasSubstr("rank 1")));
}

TEST(Collective, WhatFailsOnOneRankFailsOnAll) {
  const std::vector<std::string> thrown = on_ranks(3, [](Collective& ranks) {
    succeed_together(ranks, [] {});
    succeed_together(ranks, [&] {
      if (ranks.rank() > 0) throw Error("disk " + std::to_string(ranks.rank()) + " full");
    });
  });
  EXPECT_THAT(thrown,
              ElementsAre("failed on ranks 1 and 2: disk 1 full", "disk 1 full", "disk 2 full"));
}

TEST(Collective, ARankThatDoesNotComeIsAnErrorOnTheOthersInTime) {
  const std::vector<std::string> thrown = on_ranks(
      2,
      [](Collective& ranks) {
        if (ranks.rank() == 0) barrier(ranks);
      },
      std::chrono::milliseconds(50));
  EXPECT_THAT(thrown, ElementsAre("a rank does not answer", ""));
}

}  // namespace
}  // namespace leapverify

// A Collective over a key-value store, here one in memory that threads share.
#include <gmock/gmock.h>
#include <leapverify/integrations/distributed/store_collective.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include <thread>

namespace leapverify::distributed {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

/// What each rank threw, empty where nothing.
std::vector<std::string> on_store(int size, const std::function<void(Collective&)>& action) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      StoreCollective ranks(store, rank, size, std::chrono::milliseconds(500));
      try {
        action(ranks);
      } catch (const std::exception& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

TEST(StoreCollective, SumsAreThoseOfAllRanks) {
  EXPECT_THAT(on_store(3,
                       [](Collective& ranks) {
                         for (int round = 1; round < 4; ++round) {
                           std::vector<double> values = {1.0 * round * ranks.rank(), 0.25};
                           ranks.sum(values);
                           EXPECT_THAT(values, ElementsAre(3.0 * round, 0.75));
                         }
                         std::vector<double> nothing;
                         ranks.sum(nothing);
                       }),
              Each(""));
}

TEST(StoreCollective, ARankThatDoesNotComeIsAnErrorInTime) {
  const auto thrown = on_store(2, [](Collective& ranks) {
    if (ranks.rank() == 0) barrier(ranks);
  });
  EXPECT_THAT(thrown[0], HasSubstr("the other ranks do not answer"));
}

TEST(StoreCollective, RanksOutOfStepAreAnError) {
  EXPECT_THAT(on_store(2,
                       [](Collective& ranks) {
                         std::vector<double> values(ranks.rank() == 0 ? 1 : 2);
                         ranks.sum(values);
                       }),
              Each("the ranks are out of step"));
}

TEST(StoreCollective, MixedVersionsAreNamed) {
  EXPECT_THAT(on_store(3,
                       [](Collective& ranks) {
                         require_same(ranks, "version",
                                      ranks.rank() == 2 ? "torch 2.12" : "torch 2.11");
                       }),
              Each("version: rank 2 has another than ranks 0 and 1"));
}

}  // namespace
}  // namespace leapverify::distributed

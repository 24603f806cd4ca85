#include <gmock/gmock.h>
#include <leapverify/integrations/data/prefetcher.h>
#include <leapverify/integrations/data/text.h>
#include <leapverify/kernels/mix.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <set>

#include "integrations/temporary_folder.h"

namespace leapverify::data {
namespace {

using ::testing::ThrowsMessage;

/// Waits up to ten seconds.
template <class Condition>
bool comes_true(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

class PrefetchedTextTest : public testing::TemporaryFolder {};

TEST_F(PrefetchedTextTest, BatchesAreThoseWithoutPrefetchingAfterAnySeek) {
  constexpr std::int64_t kContext = 32, kRows = 4;
  std::string content;
  for (int i = 0; i < 1000; ++i) content += std::to_string(i * i);
  DataOptions options;
  options.path = write("text", content);
  const Text text(options, 256, kContext, kRows);
  const auto batch_of = [&text](std::int64_t step) {
    std::vector<std::int64_t> batch(2 * kRows * kContext);
    text.train_batch(step, 0, kRows, batch.data(), batch.data() + kRows * kContext);
    return batch;
  };
  Prefetcher<std::vector<std::int64_t>> batches(batch_of, 2);
  std::vector<std::int64_t> steps = {0, 1, 2, 3, 1, 2, 3, 1, 2, 4, 3, 3, 100, 101, 0};
  for (std::uint64_t i = 0; i < 500; ++i) {
    const std::uint64_t word = kernels::mix(i);
    steps.push_back(word % 3 == 0 ? static_cast<std::int64_t>(word / 3 % 20) : steps.back() + 1);
  }
  for (const std::int64_t step : steps) EXPECT_EQ(batches.take(step), batch_of(step)) << step;
}

TEST(Prefetcher, MakesWhatComesNextAndNoMoreThanItsDepth) {
  std::atomic<std::int64_t> made{0};
  Prefetcher<std::int64_t> items(
      [&made](std::int64_t index) {
        ++made;
        return 10 * index;
      },
      3);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(made, 0) << "nothing is made before the first is asked for";
  EXPECT_EQ(items.take(5), 50);
  EXPECT_TRUE(comes_true([&] { return made == 4; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(made, 4);
  EXPECT_EQ(items.take(6), 60);
  EXPECT_TRUE(comes_true([&] { return made == 5; }));
}

TEST(Prefetcher, MakesAllItemsOnOneOtherThread) {
  std::mutex mutex;
  std::set<std::thread::id> threads;
  Prefetcher<std::int64_t> items(
      [&](std::int64_t index) {
        const std::lock_guard<std::mutex> lock(mutex);
        threads.insert(std::this_thread::get_id());
        return index;
      },
      2);
  for (std::int64_t i = 0; i < 20; ++i) items.take(i % 7);
  const std::lock_guard<std::mutex> lock(mutex);
  EXPECT_EQ(threads.size(), 1u);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 0u);
}

TEST(Prefetcher, ErrorsReachWhoTakesTheItemAndNobodyElse) {
  Prefetcher<std::int64_t> items(
      [](std::int64_t index) {
        if (index == 2) throw Error("no item 2");
        return index;
      },
      2);
  EXPECT_EQ(items.take(0), 0);
  EXPECT_EQ(items.take(1), 1);
  EXPECT_THAT([&] { items.take(2); }, ThrowsMessage<Error>("no item 2"));
  EXPECT_EQ(items.take(3), 3);
  EXPECT_THAT([&] { items.take(2); }, ThrowsMessage<Error>("no item 2"));
  EXPECT_EQ(items.take(1), 1);
}

TEST(Prefetcher, EndsAtAnyTime) {
  for (int round = 0; round < 300; ++round) {
    std::atomic<int> inside{0};
    {
      Prefetcher<std::unique_ptr<std::int64_t>> items(
          [&inside](std::int64_t index) {
            ++inside;
            if (index % 3 == 0) std::this_thread::yield();
            --inside;
            return std::make_unique<std::int64_t>(index);
          },
          1 + round % 3);
      for (int i = 0; i < round % 5; ++i)
        EXPECT_EQ(*items.take(i * (round % 2 + 1)), i * (round % 2 + 1));
    }
    EXPECT_EQ(inside, 0) << "the thread is gone";
  }
}

TEST(Prefetcher, WaitsForTheItemInTheMaking) {
  std::atomic<bool> begun{false}, ended{false};
  {
    Prefetcher<std::int64_t> items(
        [&](std::int64_t index) {
          if (index > 0) {
            begun = true;
            std::this_thread::sleep_for(std::chrono::milliseconds(30));
            ended = true;
          }
          return index;
        },
        1);
    items.take(0);
    EXPECT_TRUE(comes_true([&] { return begun.load(); }));
  }
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace leapverify::data

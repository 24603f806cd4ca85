#include <gmock/gmock.h>
#include <leapverify/integrations/distributed/gradient_buckets.h>
#include <torch/torch.h>

#include "thread_communicator.h"

namespace leapverify::distributed {
namespace {

using testing::Each;
using testing::IsEmpty;

/// Values of its own for each parameter and rank, powers of two whose sums are exact.
torch::Tensor gradient_of(int rank, std::size_t parameter) {
  return torch::full({static_cast<std::int64_t>(parameter) + 1},
                     std::ldexp(1.0 + rank, static_cast<int>(parameter)));
}

std::vector<torch::Tensor> make_parameters(std::size_t count) {
  std::vector<torch::Tensor> parameters;
  for (std::size_t i = 0; i < count; ++i) {
    parameters.push_back(torch::ones({static_cast<std::int64_t>(i) + 1}).requires_grad_());
  }
  return parameters;
}

/// Σ parameters · their gradients, of those asked for.
torch::Tensor loss_of(const std::vector<torch::Tensor>& parameters, int rank,
                      const std::vector<std::size_t>& used) {
  torch::Tensor loss = torch::zeros({});
  for (const std::size_t i : used) {
    loss = loss + (parameters[i] * gradient_of(rank, i)).sum();
  }
  return loss;
}

TEST(GradientBuckets, EveryGradientIsTheSumOverTheRanks) {
  for (const std::int64_t bytes : {1, 40, 1 << 20}) {
    EXPECT_THAT(on_ranks(3,
                         [&](ThreadRank& rank) {
                           ThreadCommunicator ranks(rank);
                           auto parameters = make_parameters(5);
                           GradientBuckets buckets(parameters, ranks, bytes);
                           EXPECT_EQ(buckets.bucket_count(), bytes == 1 ? 5 : bytes == 40 ? 2 : 1);
                           for (int step = 0; step < 2; ++step) {
                             for (auto& parameter : parameters) parameter.mutable_grad().reset();
                             buckets.begin();
                             loss_of(parameters, rank.rank(), {0, 1, 2, 3, 4}).backward();
                             buckets.finish();
                             for (std::size_t i = 0; i < parameters.size(); ++i) {
                               EXPECT_TRUE(torch::equal(
                                   parameters[i].grad(),
                                   gradient_of(0, i) + gradient_of(1, i) + gradient_of(2, i)));
                             }
                           }
                         }),
                Each(IsEmpty()));
  }
}

TEST(GradientBuckets, ABucketIsSentBeforeTheBackwardPassEnds) {
  EXPECT_THAT(on_ranks(2,
                       [](ThreadRank& rank) {
                         ThreadCommunicator ranks(rank);
                         auto parameters = make_parameters(2);
                         GradientBuckets buckets(parameters, ranks, 1);
                         int at_the_first = -1;
                         // The gradient of the first comes last: it stands at the begin of the graph.
                         const auto first = parameters[0] * 2;
                         first.register_hook([&](const torch::Tensor& gradient) {
                           at_the_first = ranks.started;
                           return gradient;
                         });
                         buckets.begin();
                         ((first * 3).sum() * parameters[1].sum()).backward();
                         EXPECT_EQ(at_the_first, 1);
                         buckets.finish();
                         EXPECT_EQ(ranks.started, 2);
                       }),
              Each(IsEmpty()));
}

TEST(GradientBuckets, AccumulatedPassesAreSentOnce) {
  EXPECT_THAT(on_ranks(2,
                       [](ThreadRank& rank) {
                         ThreadCommunicator ranks(rank);
                         auto parameters = make_parameters(3);
                         GradientBuckets buckets(parameters, ranks);
                         loss_of(parameters, rank.rank(), {0, 1, 2}).backward();
                         EXPECT_EQ(ranks.started, 0);
                         buckets.begin();
                         loss_of(parameters, rank.rank(), {0, 1, 2}).backward();
                         buckets.finish();
                         EXPECT_EQ(ranks.started, 1);
                         EXPECT_TRUE(torch::equal(parameters[2].grad(),
                                                  2 * (gradient_of(0, 2) + gradient_of(1, 2))));
                       }),
              Each(IsEmpty()));
}

TEST(GradientBuckets, ParametersWithoutAGradientOnSomeRanksOrAll) {
  EXPECT_THAT(
      on_ranks(
          2,
          [](ThreadRank& rank) {
            ThreadCommunicator ranks(rank);
            auto parameters = make_parameters(3);
            GradientBuckets buckets(parameters, ranks);
            buckets.begin();
            loss_of(parameters, rank.rank(),
                    rank.rank() == 0 ? std::vector<std::size_t>{0} : std::vector<std::size_t>{0, 2})
                .backward();
            buckets.finish();
            EXPECT_TRUE(torch::equal(parameters[0].grad(), gradient_of(0, 0) + gradient_of(1, 0)));
            EXPECT_FALSE(parameters[1].grad().defined());
            ASSERT_TRUE(parameters[2].grad().defined());
            EXPECT_TRUE(torch::equal(parameters[2].grad(), gradient_of(1, 2)));
          }),
      Each(IsEmpty()));
}

TEST(GradientBuckets, NothingIsSentAfterTheyAreGone) {
  EXPECT_THAT(on_ranks(1,
                       [](ThreadRank& rank) {
                         ThreadCommunicator ranks(rank);
                         auto parameters = make_parameters(2);
                         {
                           GradientBuckets buckets(parameters, ranks);
                           buckets.begin();
                         }
                         loss_of(parameters, 0, {0, 1}).backward();
                         EXPECT_EQ(ranks.started, 0);
                       }),
              Each(IsEmpty()));
}

}  // namespace
}  // namespace leapverify::distributed

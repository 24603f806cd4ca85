// Several ranks, here threads, decide together: alike, with shared work, and so that what fails on one
// fails on all.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_verify.h>
#include <leapverify/runtime/replicas.h>

#include <map>
#include <mutex>

#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"
#include "thread_ranks.h"

namespace leapverify {
namespace {

using nlohmann::json;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

/// The toy on ranks that train on the same batches, so that their weights stay the same. Without
/// dropout: the threads share torch's generator.
struct RankRun : ToyRun {
  RankRun() { model->dropout->options.p(0); }

  void wrap_on(const Options& options, Collective& ranks) {
    leaps = std::make_unique<LeapVerify>(
        *base, model, options, *evaluator, [this](const std::string& e) { trace.push_back(e); },
        this, &ranks);
  }
};

struct Fleet {
  using Setup = std::function<void(RankRun&, ThreadRank&)>;

  /// Trains on so many ranks; `setup` wraps the run.
  Fleet(int size, int steps, const Setup& setup,
        std::chrono::milliseconds timeout = std::chrono::seconds(20))
      : runs(static_cast<std::size_t>(size)) {
    std::mutex seeding;
    thrown = on_ranks(
        size,
        [&](ThreadRank& rank) {
          auto& run = runs[static_cast<std::size_t>(rank.rank())];
          {
            const std::lock_guard<std::mutex> lock(seeding);
            run = std::make_unique<RankRun>();
          }
          setup(*run, rank);
          run->train(steps);
          if (rank.rank() == 0) sums = rank.sums;
        },
        timeout);
  }

  std::vector<std::vector<at::Tensor>> weights() const {
    std::vector<std::vector<at::Tensor>> all;
    for (const auto& run : runs) all.push_back(run->model->parameters());
    return all;
  }

  void expect_equal_weights() const {
    const auto all = weights();
    for (const auto& one : all) {
      for (std::size_t i = 0; i < one.size(); ++i) {
        EXPECT_TRUE(torch::equal(one[i], all.front()[i]));
      }
    }
  }

  std::vector<std::unique_ptr<RankRun>> runs;
  std::vector<std::string> thrown;
  /// Of the first rank.
  int sums = 0;
};

Fleet::Setup wrapped(const Options& options) {
  return [options](RankRun& run, ThreadRank& rank) { run.wrap_on(options, rank); };
}

Options betting_options() {
  Options options = eager_options();
  options.controller.horizons = {2, 5, 10};
  options.verification.rule = policy::Rule::kSequential;
  options.verification.max_sequences = 64;
  options.trace_losses = true;
  return options;
}

class ManyRanks : public testing::TestWithParam<int> {};

TEST_P(ManyRanks, DecideAsOneDoes) {
  const Fleet one(1, 120, wrapped(betting_options()));
  const Fleet many(GetParam(), 120, wrapped(betting_options()));
  EXPECT_THAT(many.thrown, Each(IsEmpty()));
  many.expect_equal_weights();
  const auto expected = events_of(*one.runs.front(), "candidate");
  ASSERT_GE(expected.size(), 20u);
  std::size_t accepted = 0;
  for (const auto& run : many.runs) {
    const auto got = events_of(*run, "candidate");
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].at("verdict"), expected[i].at("verdict"));
      EXPECT_EQ(got[i].at("horizon"), expected[i].at("horizon"));
      accepted += got[i].at("verdict") == "accepted" ? 1 : 0;
      const auto losses = got[i].at("candidate_losses").get<std::vector<double>>();
      const auto wanted = expected[i].at("candidate_losses").get<std::vector<double>>();
      ASSERT_EQ(losses.size(), wanted.size());
      for (std::size_t j = 0; j < losses.size(); ++j) EXPECT_NEAR(losses[j], wanted[j], 1e-4);
    }
    EXPECT_EQ(run->trace, many.runs.front()->trace);
  }
  EXPECT_GT(accepted, 0u);
}

INSTANTIATE_TEST_SUITE_P(Sizes, ManyRanks, testing::Values(2, 3, 4));

TEST(Replicas, EachRankRunsItsShareOfTheSequences) {
  std::vector<std::vector<std::int64_t>> asked(3);
  struct Asked : Evaluator {
    std::int64_t sequence_count() const override { return 100; }
    double step_cost() const override { return 3; }
    bool together() const override { return all; }
    Evaluation evaluate(const std::vector<std::int64_t>& sequences, bool) override {
      asked.insert(asked.end(), sequences.begin(), sequences.end());
      const at::Tensor numbers = at::tensor(sequences).to(at::kFloat);
      return {numbers / 3, at::stack({numbers, numbers.square()}, 1)};
    }
    std::vector<std::int64_t> asked;
    bool all = false;
  };
  for (const bool together : {false, true}) {
    EXPECT_THAT(
        on_ranks(
            3,
            [&](Collective& collective) {
              Replicas replicas(&collective);
              Asked evaluator;
              evaluator.all = together;
              replicas.run([&] {
                const Evaluation result =
                    replicas.evaluate(evaluator, {7, 4, 3, 6}, /*activations=*/true);
                const at::Tensor numbers = at::tensor({7.0, 4.0, 3.0, 6.0});
                EXPECT_TRUE(at::equal(result.losses, (numbers.to(at::kFloat) / 3).to(at::kDouble)));
                EXPECT_TRUE(at::equal(result.activations,
                                      at::stack({numbers, numbers.square()}, 1).to(at::kFloat)));
                // Nothing for the third.
                replicas.evaluate(evaluator, {0, 1}, /*activations=*/true);
              });
              asked[static_cast<std::size_t>(collective.rank())] = evaluator.asked;
            }),
        Each(IsEmpty()));
    if (together) {
      EXPECT_THAT(asked, Each(ElementsAre(7, 4, 3, 6, 0, 1)));
    } else {
      EXPECT_THAT(asked, ElementsAre(ElementsAre(3, 6, 0), ElementsAre(7, 4, 1), IsEmpty()));
    }
  }
}

TEST(Replicas, AForwardPassThatOthersWaitForIsBookedToo) {
  struct Two : Collective {
    int rank() const override { return 0; }
    int size() const override { return 2; }
    void sum(std::vector<double>&) override {}
  } two;
  const ToyRun toy;
  EXPECT_EQ(Replicas(&two).forwards(*toy.evaluator, 7), 8);
  EXPECT_EQ(Replicas(&two).forwards(*toy.evaluator, 8), 8);
  EXPECT_EQ(Replicas(nullptr).forwards(*toy.evaluator, 7), 7);
}

/// Two sequences decide, so that four ranks have room for two candidates.
Options quick_options() {
  Options options = betting_options();
  options.verification.rule = policy::Rule::kStrict;
  options.verification.sequences = 2;
  return options;
}

TEST(Replicas, RanksThatWouldBeIdleEvaluateFurtherCandidates) {
  const Fleet one(1, 120, wrapped(quick_options()));
  const Fleet many(4, 120, wrapped(quick_options()));
  EXPECT_THAT(many.thrown, Each(IsEmpty()));
  many.expect_equal_weights();
  const auto expected = events_of(*one.runs.front(), "candidate");
  const auto got = events_of(*many.runs.front(), "candidate");
  ASSERT_EQ(got.size(), expected.size());
  std::map<std::int64_t, std::int64_t> judged;
  for (std::size_t i = 0; i < got.size(); ++i) {
    for (const char* key : {"step", "horizon", "verdict", "digest"}) {
      EXPECT_EQ(got[i].at(key), expected[i].at(key));
    }
    EXPECT_NEAR(got[i].at("candidate_loss"), expected[i].at("candidate_loss"), 1e-4);
    ++judged[got[i].at("step")];
  }
  const auto leaps = events_of(*many.runs.front(), "leap");
  ASSERT_GE(leaps.size(), 10u);
  std::int64_t most = 0;
  for (const json& leap : leaps) {
    const std::int64_t candidates = judged[leap.at("step")];
    most = std::max(most, candidates);
    // In units of one forward pass on each of four ranks: the reference, every two candidates, two to
    // value the winner, and three of the canary.
    const std::int64_t passes = 1 + (candidates + 1) / 2 +
                                (leap.at("outcome") == "committed" ? 2 : 0) +
                                (leap.at("step") == leaps.front().at("step") ? 3 : 0);
    EXPECT_EQ(leap.at("forwards"), 4 * passes);
  }
  EXPECT_EQ(most, 3);
}

TEST(Replicas, AnEvaluatorThatFailsOnOneRankEndsTheLeapOnAll) {
  Options options = betting_options();
  const Fleet fleet(3, 40, [&](RankRun& run, ThreadRank& rank) {
    run.wrap_on(options, rank);
    if (rank.rank() != 1) return;
    run.before_evaluation = [count = 0]() mutable {
      if (++count == 12) throw std::runtime_error("no memory left");
    };
  });
  EXPECT_THAT(fleet.thrown, Each(IsEmpty()));
  fleet.expect_equal_weights();
  for (std::size_t rank = 0; rank < 3; ++rank) {
    const auto failures = events_of(*fleet.runs[rank], "failure");
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_EQ(failures[0].at("reason"), rank == 1 ? "no memory left" : "on rank 1: no memory left");
    EXPECT_GT(events_of(*fleet.runs[rank], "leap").size(), 2u) << "tries go on";
  }
}

TEST(Replicas, WhereOneRankCannotLandNoneDoes) {
  Options options = accepting_options();
  options.data = DataPolicy::kSkip;
  const Fleet fleet(2, 40, [&](RankRun& run, ThreadRank& rank) {
    run.wrap_on(options, rank);
    run.refuse_seek = rank.rank() == 1;
  });
  ASSERT_THAT(fleet.thrown, Each(IsEmpty()));
  fleet.expect_equal_weights();
  for (const auto& run : fleet.runs) {
    EXPECT_THAT(events_of(*run, "leap"), IsEmpty());
    EXPECT_EQ(run->progress.data, 40);
    EXPECT_EQ(events_of(*run, "failure").back().at("off"), true);
  }
}

TEST(Replicas, WeightsThatDifferAfterALeapStopTheRunAndNameTheRank) {
  const Fleet fleet(3, 40, [&](RankRun& run, ThreadRank& rank) {
    run.wrap_on(accepting_options(), rank);
    if (rank.rank() != 2) return;
    run.before_backward = [&run, steps = 0]() mutable {
      if (++steps != 4) return;
      const torch::NoGradGuard no_grad;
      run.model->second->bias.mul_(1 + 1e-6);
    };
  });
  EXPECT_THAT(fleet.thrown,
              Each("weights after the leap at step 10: rank 2 has another than ranks 0 and 1"));
}

TEST(Replicas, RanksThatDoNotFitTogetherAreRefusedBeforeTraining) {
  const auto thrown = [](const std::function<void(RankRun&, Options&)>& change) {
    return Fleet(2, 1,
                 [&](RankRun& run, ThreadRank& rank) {
                   Options options = betting_options();
                   if (rank.rank() == 1) change(run, options);
                   run.wrap_on(options, rank);
                 })
        .thrown;
  };
  EXPECT_THAT(thrown([](RankRun&, Options&) {}), Each(IsEmpty()));
  EXPECT_THAT(thrown([](RankRun&, Options& options) { options.verification.alpha = 0.01; }),
              Each("options and cost of a step: rank 1 has another than rank 0"));
  EXPECT_THAT(thrown([](RankRun& run, Options&) {
                const torch::NoGradGuard no_grad;
                run.model->second->bias.add_(1);
              }),
              Each("weights: rank 1 has another than rank 0"));
  EXPECT_THAT(thrown([](RankRun& run, Options&) {
                const torch::Tensor gate = toy_inputs(999, 127);
                run.evaluator = std::make_unique<BatchEvaluator>(
                    gate, toy_target(gate), kToyBatch,
                    [](const at::Tensor&, const at::Tensor&) { return Evaluation{}; });
              }),
              Each("number of gate sequences: rank 1 has another than rank 0"));
}

TEST(Replicas, PartsOfAModelThatRunsOnAllRanksAtOnceMayDiffer) {
  struct Together : BatchEvaluator {
    using BatchEvaluator::BatchEvaluator;
    bool together() const override { return true; }
  };
  const Fleet fleet(2, 20, [&](RankRun& run, ThreadRank& rank) {
    const torch::Tensor gate = toy_inputs(999, 128);
    run.evaluator = std::make_unique<Together>(
        gate, toy_target(gate), kToyBatch,
        [&run](const at::Tensor& x, const at::Tensor& y) { return run.evaluate(x, y); });
    const torch::NoGradGuard no_grad;
    if (rank.rank() == 1) run.model->second->bias.add_(1);
    run.wrap_on(accepting_options(), rank);
  });
  EXPECT_THAT(fleet.thrown, Each(IsEmpty()));
  for (const auto& run : fleet.runs) {
    EXPECT_FALSE(events_of(*run, "leap").empty());
    EXPECT_EQ(events_of(*run, "leap").front().at("outcome"), "committed");
  }
}

TEST(Replicas, StatesThatDifferAreRefused) {
  const Fleet fleet(2, 1, [&](RankRun& run, ThreadRank& rank) {
    run.wrap_on(betting_options(), rank);
    run.train(15);
    const LeapVerifyState state = run.leaps->state();
    run.train(5);
    run.leaps->restore(rank.rank() == 0 ? state : run.leaps->state());
  });
  EXPECT_THAT(fleet.thrown, Each("state of LeapVerify: rank 1 has another than rank 0"));
}

TEST(Replicas, ShareTheBatchThatIsToBeTrainedOn) {
  Options options = betting_options();
  options.gate = GateSource::kNextBatch;
  std::mutex seeding;
  std::vector<std::vector<std::string>> traces(2);
  EXPECT_THAT(on_ranks(2,
                       [&](ThreadRank& rank) {
                         std::unique_lock<std::mutex> lock(seeding);
                         RankRun run;
                         lock.unlock();
                         run.wrap_on(options, rank);
                         run.train_on_batches(60);
                         traces[static_cast<std::size_t>(rank.rank())] = run.trace;
                       }),
              Each(IsEmpty()));
  EXPECT_EQ(traces[0], traces[1]);
  std::size_t pairs = 0;
  for (const std::string& line : traces[0]) {
    const json event = json::parse(line);
    if (event.at("event") == "candidate") pairs = std::max<std::size_t>(pairs, event.at("pairs"));
  }
  EXPECT_GT(pairs, static_cast<std::size_t>(kToyBatch)) << "more than one rank's sequences";
}

TEST(Replicas, AFaultInsideAnyCollectiveEndsTheRunOnAllRanksInTime) {
  // Two observations and a try.
  const Fleet whole(2, 10, wrapped(betting_options()));
  ASSERT_GT(whole.sums, 20);
  ASSERT_THAT(events_of(*whole.runs.front(), "leap"), SizeIs(1));
  for (int call = 0; call < whole.sums; ++call) {
    const int broken = call % 2;
    const Fleet fleet(
        2, 10,
        [&](RankRun& run, ThreadRank& rank) {
          if (rank.rank() == broken) {
            rank.before_sum = [call](int number) {
              if (number == call) throw CollectiveError("cable cut");
            };
          }
          run.wrap_on(betting_options(), rank);
        },
        std::chrono::milliseconds(60));
    EXPECT_THAT(fleet.thrown[static_cast<std::size_t>(broken)], "cable cut") << call;
    EXPECT_THAT(fleet.thrown[static_cast<std::size_t>(1 - broken)], "a rank does not answer")
        << call;
  }
}

}  // namespace
}  // namespace leapverify

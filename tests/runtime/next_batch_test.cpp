// The next batch as held-out data: the step on it is bitwise a plain one, and the cost is booked.
#include <gmock/gmock.h>
#include <leapverify/runtime/leap_verify.h>

#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Options on_batches(Options options, Reference reference = Reference::kCurrent) {
  options.gate = GateSource::kNextBatch;
  options.reference = reference;
  options.probes = 0;
  return options;
}

class NextBatch : public testing::TestWithParam<Reference> {};

TEST_P(NextBatch, AllRejectedIsTheBaseOptimizerBitwise) {
  ToyRun bare;
  bare.train_on_batches(140);
  ToyRun wrapped;
  wrapped.wrap(on_batches(eager_options(), GetParam()));
  // Each forward pass is worse than the one before.
  wrapped.change_batch_losses = [count = 0](const at::Tensor& losses) mutable {
    return losses + static_cast<double>(count++);
  };
  wrapped.train_on_batches(140);
  EXPECT_TRUE(bitwise_equal(bare.everything(), wrapped.everything()));
  expect_real_rejections(wrapped);
}

/// Gradients of a plain step at the weights, buffers and random generators of a moment.
struct PlainStep {
  std::vector<at::Tensor> weights, buffers, gradients;
  RandomState random;
};

TEST_P(NextBatch, GradientsOfAnAcceptedCandidateAreThoseOfAPlainStepAtItsWeights) {
  ToyRun run;
  Options options = on_batches(accepting_options(), GetParam());
  options.controller.horizons = {5};
  run.wrap(options);
  run.train_on_batches(10);
  EXPECT_TRUE(events_of(run, "leap").empty()) << "the try waits for the next batch";
  PlainStep plain;
  for (const at::Tensor& buffer : run.model->buffers()) plain.buffers.push_back(buffer.clone());
  plain.random = capture_random_state(toy_device());
  const TrainingBatch batch = run.next_batch();
  run.before_own_forward = [&] {
    for (const at::Tensor& p : run.model->parameters()) plain.weights.push_back(p.detach().clone());
  };
  run.leaps->step(batch);
  ASSERT_EQ(events_of(run, "leap").at(0).at("outcome"), "committed");
  for (const at::Tensor& p : run.model->parameters()) plain.gradients.push_back(p.grad().clone());

  ToyRun fresh;
  {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < plain.weights.size(); ++i) {
      fresh.model->parameters()[i].copy_(plain.weights[i]);
    }
    for (std::size_t i = 0; i < plain.buffers.size(); ++i) {
      fresh.model->buffers()[i].copy_(plain.buffers[i]);
    }
  }
  ToyRun bare;
  bare.train(10);
  EXPECT_FALSE(torch::equal(fresh.model->first->weight, bare.model->first->weight)) << "it leapt";
  fresh.progress.data = 10;
  const TrainingBatch same = fresh.next_batch();
  restore_random_state(plain.random, toy_device());
  same.backward();
  for (std::size_t i = 0; i < plain.gradients.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(fresh.model->parameters()[i].grad(), plain.gradients[i])) << i;
  }
  EXPECT_TRUE(bitwise_equal(fresh.model->norm->running_mean, run.model->norm->running_mean));
}

INSTANTIATE_TEST_SUITE_P(All, NextBatch, testing::Values(Reference::kCurrent, Reference::kDenoised),
                         [](const auto& instance) { return name_of(instance.param); });

TEST(NextBatch, EveryForwardPassIsBooked) {
  ToyRun run;
  Options options = on_batches(eager_options());
  options.on_accept = OnAccept::kRate;
  run.wrap(options);
  run.train_on_batches(60);
  const policy::Ledger ledger = run.leaps->status().ledger;
  EXPECT_GT(ledger.tries, 0);
  EXPECT_EQ(ledger.forwards(), run.batch_forwards * kToyBatch + 6) << "and the canary";
}

TEST(NextBatch, SeenBatchesAndPlainStepsTakeTheGate) {
  for (const bool seen : {true, false}) {
    ToyRun run;
    run.seen = seen;
    run.wrap(on_batches(eager_options()));
    if (seen) {
      run.train_on_batches(30);
    } else {
      run.train(30);
    }
    EXPECT_GT(run.leaps->status().ledger.tries, 0);
    EXPECT_GT(run.evaluations, 0);
    EXPECT_EQ(run.batch_forwards, 0);
  }
}

TEST(NextBatch, TryWithoutABatchIsGivenUpAndSaid) {
  ToyRun run;
  run.wrap(on_batches(eager_options()));
  run.train_on_batches(10);
  run.train(1);
  EXPECT_EQ(run.leaps->status().ledger.tries, 1);
  EXPECT_EQ(run.leaps->status().ledger.candidates, 0);
  const std::vector<json> failures = events_of(run, "failure");
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(failures[0].at("reason"), "no batch came to try the leap on");
}

TEST(NextBatch, BatchTooSmallToDecideIsSaid) {
  ToyRun run;
  Options options = on_batches(eager_options());
  options.verification.rule = policy::Rule::kSequential;
  options.verification.pilot = 12;
  options.verification.max_sequences = 64;
  run.wrap(options);
  run.train_on_batches(12);
  EXPECT_THAT(events_of(run, "failure").at(0).at("reason").get<std::string>(),
              HasSubstr("a batch of 16 sequences decides nothing: rule sequential needs 18"));
}

TEST(NextBatch, UndecidedAtTheEndOfTheBatchRejects) {
  ToyRun run;
  Options options = on_batches(eager_options());
  options.verification.rule = policy::Rule::kSequential;
  options.verification.margin = 0;
  options.verification.max_sequences = 64;
  run.wrap(options);
  // Gains of either sign by turns.
  const at::Tensor wave =
      at::arange(kToyBatch).remainder(2).mul(2).sub(1).to(toy_device(), at::kFloat);
  run.change_batch_losses = [&, count = 0](const at::Tensor& losses) mutable {
    return at::zeros_like(losses) + wave * static_cast<double>(count++);
  };
  run.train_on_batches(12);
  const json candidate = events_of(run, "candidate").at(0);
  EXPECT_EQ(candidate.at("verdict"), "rejected");
  EXPECT_EQ(candidate.at("reason"), "no gain was shown within the batch");
}

TEST(NextBatch, MustGiveAsManyLossesAsItHasSequences) {
  ToyRun run;
  run.wrap(on_batches(eager_options()));
  run.change_batch_losses = [](const at::Tensor& losses) { return losses.mean(); };
  run.train_on_batches(12);
  EXPECT_THAT(events_of(run, "failure").at(0).at("reason").get<std::string>(),
              HasSubstr("a batch of 16 sequences must give one loss for each"));
}

TEST(NextBatch, NeedsBothOfItsFunctions) {
  ToyRun run;
  run.wrap(on_batches(eager_options()));
  EXPECT_THROW(run.leaps->step(TrainingBatch{}), ContractError);
}

}  // namespace
}  // namespace leapverify

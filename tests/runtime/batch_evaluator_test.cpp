// The ready evaluator: the chosen sequences, in order, whatever the size of its batches.
#include <gmock/gmock.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/batch_evaluator.h>

#include "runtime/tensor_matchers.h"

namespace leapverify {
namespace {

BatchEvaluator evaluator_with(std::int64_t batch, int* calls = nullptr) {
  const at::Tensor inputs = at::arange(20, at::kFloat).reshape({10, 2});
  return BatchEvaluator(
      inputs, at::arange(10, at::kFloat), 4,
      [calls](const at::Tensor& x, const at::Tensor& y) {
        if (calls != nullptr) ++*calls;
        return Evaluation{x.sum(1) + 100 * y, x};
      },
      batch);
}

TEST(BatchEvaluator, ReturnsTheAskedSequencesInOrder) {
  int calls = 0;
  BatchEvaluator evaluator = evaluator_with(2, &calls);
  const Evaluation result = evaluator.evaluate({7, 0, 3}, true);
  EXPECT_TRUE(bitwise_equal(result.losses, at::tensor({729.0, 1.0, 313.0}, at::kFloat)));
  EXPECT_TRUE(bitwise_equal(result.activations[0], at::tensor({14.0, 15.0}, at::kFloat)));
  EXPECT_EQ(calls, 2);
}

TEST(BatchEvaluator, StepCostsThreeForwardsASequence) {
  EXPECT_EQ(evaluator_with(2).step_cost(), 12);
  EXPECT_EQ(evaluator_with(2).sequence_count(), 10);
}

TEST(BatchEvaluator, RefusesListsOfDifferentLength) {
  EXPECT_THROW(BatchEvaluator(at::zeros({3}), at::zeros({4}), 1,
                              [](const auto&, const auto&) { return Evaluation{}; }),
               ContractError);
}

}  // namespace
}  // namespace leapverify

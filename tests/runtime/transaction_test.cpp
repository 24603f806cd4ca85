// The transaction and the evaluation scope put back every byte.
#include <gmock/gmock.h>
#include <leapverify/runtime/evaluation_scope.h>
#include <leapverify/runtime/leap_transaction.h>
#include <leapverify/runtime/policy/predictor.h>
#include <leapverify/runtime/torch_model.h>

#include <cmath>
#include <limits>

#include "runtime/tensor_matchers.h"
#include "runtime/toy.h"

namespace leapverify {
namespace {

/// Weights with bytes that arithmetic would not preserve.
std::vector<at::Tensor> delicate_weights() {
  at::Tensor floats =
      at::tensor({-0.0, 1.0, std::nan(""), std::numeric_limits<double>::denorm_min()}, at::kFloat);
  return {floats, at::full({3}, -0.0, at::kBFloat16), at::full({2}, 1e-310, at::kDouble)};
}

struct Fixture {
  std::vector<at::Tensor> tensors = delicate_weights();
  TensorList weights{tensors};
  TensorList backup = weights.allocate_like(TensorList::Precision::kSame);
  SnapshotStore snapshots{weights, 1};
  std::vector<at::Tensor> original;

  Fixture() {
    for (const at::Tensor& tensor : tensors) original.push_back(tensor.clone());
    snapshots.record(1);
  }
  void expect_original() const {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_TRUE(bitwise_equal(tensors[i], original[i])) << "tensor " << i;
    }
  }
};

TEST(LeapTransaction, DestructionRestoresEveryByte) {
  Fixture f;
  {
    LeapTransaction transaction(f.weights, f.backup);
    EXPECT_EQ(transaction.write({{3.0}, 1}, f.snapshots), 1) << "the NaN is counted";
    EXPECT_FALSE(bitwise_equal(f.tensors[0], f.original[0]));
  }
  f.expect_original();
}

TEST(LeapTransaction, ExceptionRestoresEveryByte) {
  Fixture f;
  try {
    LeapTransaction transaction(f.weights, f.backup);
    transaction.write({{3.0}, 1}, f.snapshots);
    throw std::runtime_error("anything");
  } catch (const std::runtime_error&) {
  }
  f.expect_original();
}

TEST(LeapTransaction, CommitKeepsTheCandidate) {
  Fixture f;
  {
    LeapTransaction transaction(f.weights, f.backup);
    transaction.write({{3.0}, 1}, f.snapshots);
    transaction.commit();
  }
  EXPECT_EQ(f.tensors[0][1].item<float>(), 3);
}

TEST(LeapTransaction, CommitAfterRollBackKeepsTheOriginal) {
  Fixture f;
  {
    LeapTransaction transaction(f.weights, f.backup);
    transaction.write({{3.0}, 1}, f.snapshots);
    transaction.roll_back();
    transaction.commit();
  }
  f.expect_original();
}

TEST(LeapTransaction, CoefficientRowsGoToTheirTensors) {
  Fixture f;
  LeapTransaction transaction(f.weights, f.backup);
  transaction.write({{2.0, 4.0, 8.0}, 3}, f.snapshots);
  EXPECT_EQ(f.tensors[0][1].item<float>(), 2);
  EXPECT_EQ(f.tensors[2][0].item<double>(), 8 * 1e-310);
  EXPECT_THROW(transaction.write({{2.0, 4.0}, 2}, f.snapshots), ContractError);
  EXPECT_THROW(transaction.write({{1.0, 0.0}, 1}, f.snapshots), ContractError);
}

TEST(EvaluationScope, RestoresModesBuffersAndGenerators) {
  ToyRun run;
  run.train(3);
  run.model->dropout->eval();
  const auto before = run.everything();
  const TensorList buffers(run.model->buffers());
  const TensorList saved = buffers.allocate_like(TensorList::Precision::kSame);
  TorchModel model(*run.model);
  {
    const EvaluationScope scope(model, buffers, saved, toy_device());
    EXPECT_FALSE(run.model->norm->is_training());
    EXPECT_FALSE(torch::GradMode::is_enabled());
    run.model->train();
    run.model->forward(toy_inputs(1, 4));
    torch::rand({5});
    torch::rand({5}, toy_device());
  }
  EXPECT_TRUE(bitwise_equal(before, run.everything()));
  EXPECT_TRUE(run.model->is_training());
  EXPECT_TRUE(run.model->norm->is_training());
  EXPECT_FALSE(run.model->dropout->is_training());
  EXPECT_TRUE(torch::GradMode::is_enabled());
}

}  // namespace
}  // namespace leapverify

// What the compressed snapshots cost in accuracy, on the trajectory of a small model that learns
// real text: this project's README.
#include <gmock/gmock.h>
#include <leapverify/runtime/policy/predictor.h>
#include <leapverify/runtime/snapshot_store.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "integrations/models/small_gpt.h"

namespace leapverify::testing {
namespace {

using policy::History;
using policy::Predictor;
using policy::PredictorKind;

constexpr std::int64_t kSpacing = 10;
constexpr std::int64_t kSteps = 150;

double norm_of_difference(const TensorList& a, const TensorList& b) {
  double squares = 0;
  for (std::size_t i = 0; i < a.tensors().size(); ++i) {
    const at::Tensor difference = a.tensors()[i].to(at::kDouble) - b.tensors()[i].to(at::kDouble);
    squares += difference.square().sum().item<double>();
  }
  return std::sqrt(squares);
}

torch::Tensor read_text() {
  std::ifstream file(LEAPVERIFY_SOURCE_DIR "/README.md", std::ios::binary);
  const std::vector<std::int64_t> bytes{std::istreambuf_iterator<char>(file), {}};
  return torch::tensor(bytes, torch::kInt64).remainder(256);
}

/// Eight windows of 17 bytes.
torch::Tensor batch_at(const torch::Tensor& text, std::int64_t step) {
  std::vector<torch::Tensor> rows;
  for (std::int64_t row = 0; row < 8; ++row) {
    const std::int64_t begin = (7919 * step + 104729 * row) % (text.numel() - 17);
    rows.push_back(text.narrow(0, begin, 17));
  }
  return torch::stack(rows);
}

class SnapshotFormats : public ::testing::TestWithParam<PredictorKind> {};

TEST_P(SnapshotFormats, LeapFromBFloat16DeltasIsWithinOnePercentOfTheExactOne) {
  const torch::Tensor text = read_text();
  ASSERT_GT(text.numel(), 1000);
  const auto model = small_gpt();
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(3e-3));
  const TensorList weights(model->parameters());
  const Predictor predictor({GetParam()});
  SnapshotStore exact(weights, predictor.snapshots_needed());
  SnapshotStore deltas(weights, predictor.snapshots_needed(), SnapshotFormat::kBFloat16Deltas);
  SnapshotStore host(weights, predictor.snapshots_needed(), SnapshotFormat::kHost);
  const TensorList exact_leap = weights.allocate_like(TensorList::Precision::kSame);
  const TensorList deltas_leap = weights.allocate_like(TensorList::Precision::kSame);
  const TensorList host_leap = weights.allocate_like(TensorList::Precision::kSame);
  double worst = 0;
  int compared = 0;
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    const torch::Tensor tokens = batch_at(text, step);
    optimizer.zero_grad();
    const torch::Tensor logits = model->forward(tokens.slice(1, 0, 16));
    torch::nn::functional::cross_entropy(logits.flatten(0, 1), tokens.slice(1, 1).flatten())
        .backward();
    optimizer.step();
    if (step % kSpacing != 0) continue;
    for (SnapshotStore* store : {&exact, &deltas, &host}) store->record(step);
    if (exact.size() < predictor.snapshots_needed()) continue;
    for (const std::int64_t horizon : {1, 5, 25, 100}) {
      const auto leap = [&](const SnapshotStore& store, const TensorList& to) {
        History history{store.steps(), store.gram(store.size()),
                        static_cast<std::int64_t>(weights.tensors().size())};
        const policy::Prediction prediction = predictor.predict(history, horizon);
        EXPECT_EQ(store.combine(to, prediction.coefficients, prediction.rows), 0);
      };
      leap(exact, exact_leap);
      leap(deltas, deltas_leap);
      leap(host, host_leap);
      const double length = norm_of_difference(exact_leap, weights);
      worst = std::max(worst, norm_of_difference(exact_leap, deltas_leap) / length);
      EXPECT_EQ(norm_of_difference(exact_leap, host_leap), 0) << "the host's copies are exact";
      ++compared;
    }
  }
  EXPECT_GE(compared, 40);
  RecordProperty("worst_relative_error", std::to_string(worst));
  std::printf("worst error: %.5f of the leap\n", worst);
  EXPECT_LT(worst, 0.01);
  EXPECT_GT(worst, 0) << "the deltas are rounded";
}

INSTANTIATE_TEST_SUITE_P(All, SnapshotFormats,
                         ::testing::Values(PredictorKind::kLinear, PredictorKind::kQuadratic,
                                           PredictorKind::kQuadraticPaper,
                                           PredictorKind::kQuadraticCode,
                                           PredictorKind::kLeastSquares, PredictorKind::kAverage,
                                           PredictorKind::kOuterMomentum, PredictorKind::kEmaTrend,
                                           PredictorKind::kLowRank),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

}  // namespace
}  // namespace leapverify::testing

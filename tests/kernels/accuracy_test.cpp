// The kernels' rounding errors beside those of the same arithmetic written plainly with torch, both
// measured against float64.
#include <gmock/gmock.h>
#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/combine.h>
#include <leapverify/kernels/cosine.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/kernels/reference.h>
#include <leapverify/runtime/tensor_list.h>
#include <torch/torch.h>

#include <cmath>

namespace leapverify {
namespace {

// How much worse than torch an error may be.
constexpr double kAllowed = 2;

struct Errors {
  double largest = 0;
  double mean_square = 0;
};

Errors errors(const std::vector<double>& truth, const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kCPU, at::kDouble).flatten();
  const auto data = flat.accessor<double, 1>();
  Errors result;
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    const double error = std::abs(data[i] - truth[static_cast<std::size_t>(i)]);
    result.largest = std::max(result.largest, error);
    result.mean_square += error * error / static_cast<double>(flat.numel());
  }
  return result;
}

/// Our errors are at most kAllowed times torch's, and torch's are not zero.
void expect_no_worse(const std::vector<double>& truth, const at::Tensor& ours,
                     const at::Tensor& torchs) {
  const Errors mine = errors(truth, ours);
  const Errors theirs = errors(truth, torchs);
  EXPECT_GT(theirs.largest, 0) << "the comparison would say nothing";
  EXPECT_LE(mine.largest, kAllowed * theirs.largest);
  EXPECT_LE(std::sqrt(mine.mean_square), kAllowed * std::sqrt(theirs.mean_square));
}

class Accuracy : public testing::TestWithParam<std::tuple<at::ScalarType, bool>> {
 protected:
  void SetUp() override {
    if (on_cuda() && !torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
    torch::manual_seed(91);
  }
  static at::ScalarType dtype() { return std::get<0>(GetParam()); }
  static bool on_cuda() { return std::get<1>(GetParam()); }
  static at::Device device() { return on_cuda() ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU); }

  static at::Tensor random(std::int64_t elements) {
    return torch::randn({elements}, at::kDouble).to(dtype());
  }
  static TensorList list(const at::Tensor& tensor) { return TensorList({tensor.to(device())}); }
};

constexpr std::int64_t kElements = 50000;

TEST_P(Accuracy, OfCombine) {
  for (const std::size_t count : {2u, 5u, 16u}) {
    std::vector<at::Tensor> tensors;
    std::vector<TensorList> cpu, lists;
    std::vector<double> coefficients;
    for (std::size_t k = 0; k < count; ++k) {
      tensors.push_back(random(kElements));
      cpu.emplace_back(std::vector<at::Tensor>{tensors.back()});
      lists.push_back(list(tensors.back()));
      coefficients.push_back(static_cast<float>(std::sin(1.0 + static_cast<double>(k))));
    }
    std::vector<const kernels::SegmentTable*> cpu_tables, tables;
    for (std::size_t k = 0; k < count; ++k) {
      cpu_tables.push_back(&cpu[k].table());
      tables.push_back(&lists[k].table());
    }
    const TensorList result = list(torch::empty({kElements}, dtype()));
    const at::Tensor values = at::tensor(coefficients, at::kDouble).to(device());
    kernels::combine(result.table(), tables, {values.data_ptr<double>()}, nullptr, result.stream());
    at::Tensor plain = lists[0].tensors()[0] * coefficients[0];
    for (std::size_t k = 1; k < count; ++k) {
      plain.add_(lists[k].tensors()[0], coefficients[k]);
    }
    expect_no_worse(kernels::reference::combine(cpu_tables, 0, coefficients), result.tensors()[0],
                    plain);
  }
}

TEST_P(Accuracy, OfAdamDirection) {
  const at::Tensor weights = random(kElements);
  const at::Tensor exp_avg = random(kElements);
  const at::Tensor exp_avg_sq = random(kElements).square() + 1e-3;
  const kernels::AdamRow row = kernels::AdamRow::adam(25, 1e-2, 0.9, 0.999, 1e-8, 0.1, 50);
  const TensorList w = list(weights), m = list(exp_avg), v = list(exp_avg_sq);
  const TensorList cpu_w({weights}), cpu_m({exp_avg}), cpu_v({exp_avg_sq});
  const TensorList result = list(torch::empty({kElements}, dtype()));
  const at::Tensor rows =
      at::tensor({row.keep, row.step, row.root_scale, row.epsilon}, at::kDouble).to(device());
  kernels::adam_direction(result.table(), w.table(), m.table(), &v.table(),
                          {reinterpret_cast<const kernels::AdamRow*>(rows.data_ptr<double>())},
                          nullptr, result.stream());
  const at::Tensor denominator = v.tensors()[0].sqrt() * row.root_scale + row.epsilon;
  const at::Tensor plain =
      (w.tensors()[0] * row.keep).addcdiv_(m.tensors()[0], denominator, -row.step);
  expect_no_worse(
      kernels::reference::adam_direction(cpu_w.table(), cpu_m.table(), &cpu_v.table(), 0, row),
      result.tensors()[0], plain);
}

TEST_P(Accuracy, OfGram) {
  constexpr std::int64_t kSources = 4;
  std::vector<TensorList> cpu, lists;
  for (std::int64_t k = 0; k < kSources; ++k) {
    const at::Tensor tensor = random(kElements);
    cpu.emplace_back(std::vector<at::Tensor>{tensor});
    lists.push_back(list(tensor));
  }
  std::vector<const kernels::SegmentTable*> cpu_tables, tables;
  std::vector<at::Tensor> rows;
  for (std::size_t k = 0; k < lists.size(); ++k) {
    cpu_tables.push_back(&cpu[k].table());
    tables.push_back(&lists[k].table());
    rows.push_back(lists[k].tensors()[0]);
  }
  const auto options = at::TensorOptions().dtype(at::kDouble).device(device());
  const at::Tensor result = at::empty({kSources, kSources}, options);
  const at::Tensor workspace =
      at::empty({kernels::gram_workspace(*tables[0], static_cast<int>(kSources))}, options);
  kernels::gram(tables, nullptr, result.data_ptr<double>(), workspace.data_ptr<double>(),
                lists[0].stream());
  const at::Tensor matrix = torch::stack(rows);
  expect_no_worse(kernels::reference::gram(cpu_tables, nullptr, 0), result,
                  torch::mm(matrix, matrix.t()));
}

TEST_P(Accuracy, OfCosine) {
  constexpr std::int64_t kRows = 50;
  constexpr std::int64_t kColumns = kElements / kRows;
  const at::Tensor a = random(kElements).view({kRows, kColumns});
  const at::Tensor b = random(kElements).view({kRows, kColumns});
  const at::Tensor on_a = a.to(device()), on_b = b.to(device());
  const kernels::DType kind = TensorList({a}).table().segments()[0].dtype;
  const at::Tensor result =
      at::empty({kRows}, at::TensorOptions().dtype(at::kDouble).device(device()));
  const TensorList where({on_a});
  kernels::cosine({on_a.data_ptr(), kRows, kColumns, kind},
                  {on_b.data_ptr(), kRows, kColumns, kind}, result.data_ptr<double>(),
                  where.device(), where.stream());
  expect_no_worse(kernels::reference::cosine({a.data_ptr(), kRows, kColumns, kind},
                                             {b.data_ptr(), kRows, kColumns, kind}),
                  result, torch::cosine_similarity(on_a, on_b, 1));
}

INSTANTIATE_TEST_SUITE_P(All, Accuracy,
                         testing::Combine(testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                                          testing::Values(false, true)),
                         [](const auto& instance) {
                           return std::string(c10::toString(std::get<0>(instance.param))) +
                                  (std::get<1>(instance.param) ? "_cuda" : "_cpu");
                         });

}  // namespace
}  // namespace leapverify

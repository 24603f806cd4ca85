// The ring of snapshots: order, widening, reuse, restoring.
#include <gmock/gmock.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/snapshot_store.h>

#include <cmath>
#ifdef LEAPVERIFY_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#endif

#include "runtime/tensor_matchers.h"

namespace leapverify {
namespace {

using testing::ElementsAre;

TEST(SnapshotStore, HoldsTheNewestFirstAndDropsTheOldest) {
  const at::Tensor weight = at::zeros({3});
  const TensorList weights({weight});
  SnapshotStore store(weights, 2);
  for (const std::int64_t step : {10, 20, 30}) {
    weight.fill_(static_cast<double>(step));
    store.record(step);
  }
  EXPECT_THAT(store.steps(), ElementsAre(30, 20));
  EXPECT_TRUE(bitwise_equal(store.stored(0).tensors()[0], at::full({3}, 30.0)));
  EXPECT_TRUE(bitwise_equal(store.stored(1).tensors()[0], at::full({3}, 20.0)));
  EXPECT_THROW(store.stored(2), ContractError);
}

TEST(SnapshotStore, KeepsHalfPrecisionWeightsInFloat32AndDoublesAsTheyAre) {
  const TensorList weights({at::full({2}, 1.5, at::kBFloat16), at::full({2}, 0.1, at::kDouble)});
  SnapshotStore store(weights, 1);
  store.record(1);
  EXPECT_TRUE(bitwise_equal(store.stored(0).tensors()[0], at::full({2}, 1.5)));
  EXPECT_TRUE(bitwise_equal(store.stored(0).tensors()[1], at::full({2}, 0.1, at::kDouble)));
  EXPECT_EQ(store.byte_count(), 2 * 4 + 2 * 8);
}

TEST(SnapshotStore, FollowsAStorageThatMoved) {
  const at::Tensor weight = at::zeros({3});
  const TensorList weights({weight});
  SnapshotStore store(weights, 1);
  store.record(1);
  weight.set_data(at::full({3}, 5.0));
  store.record(2);
  EXPECT_TRUE(bitwise_equal(store.stored(0).tensors()[0], at::full({3}, 5.0)));
}

TEST(SnapshotStore, GramIsOfDifferencesToTheNewestByTensor) {
  const at::Tensor a = at::zeros({2});
  const at::Tensor b = at::zeros({1});
  const TensorList weights({a, b});
  SnapshotStore store(weights, 2);
  a.fill_(1);
  b.fill_(10);
  store.record(1);
  a.fill_(3);
  b.fill_(13);
  store.record(2);
  EXPECT_THAT(store.gram(2), ElementsAre(0, 0, 0, 8, 0, 0, 0, 9));
}

/// The same random walk from 1 on each time, recorded at steps 10, 20, ….
void record_walk(SnapshotStore& store, const std::vector<at::Tensor>& weights, int snapshots) {
  torch::manual_seed(5);
  for (const at::Tensor& weight : weights) weight.fill_(1);
  for (int i = 1; i <= snapshots; ++i) {
    for (const at::Tensor& weight : weights) {
      weight.add_(torch::randn(weight.sizes(), at::kFloat).to(weight.scalar_type()), 0.01);
    }
    store.record(10 * i);
  }
}

class EveryFormat : public testing::TestWithParam<SnapshotFormat> {
 protected:
  std::vector<at::Tensor> weights_{torch::ones({300}), torch::ones({7, 5}, at::kBFloat16)};
  TensorList list_{weights_};
};

TEST_P(EveryFormat, CombinesFromElsewhereAndIsCarriedAlong) {
  SnapshotStore store(list_, 3, GetParam());
  record_walk(store, weights_, 3);
  const std::vector<double> coefficients = {3.0, -1.5, -0.5};
  const TensorList result = list_.allocate_like(TensorList::Precision::kAtLeastFloat32);
  const auto combined = [&](const TensorList* origin) {
    store.combine(result, coefficients, 1, origin);
    std::vector<at::Tensor> copies;
    for (const at::Tensor& tensor : result.tensors()) copies.push_back(tensor.clone());
    return copies;
  };
  const std::vector<at::Tensor> here = combined(nullptr);
  const TensorList elsewhere = list_.allocate_like(TensorList::Precision::kAtLeastFloat32);
  for (const at::Tensor& tensor : elsewhere.tensors()) tensor.fill_(5);
  const std::vector<at::Tensor> there = combined(&elsewhere);

  // One move for all: from the weights of now to those plus a quarter, which bfloat16 holds exactly.
  const TensorList now = list_.allocate_like(TensorList::Precision::kSame);
  now.copy_from(list_);
  for (const at::Tensor& weight : weights_) weight.add_(0.25);
  store.shift(now, list_);
  const std::vector<at::Tensor> moved = combined(nullptr);
  for (std::size_t i = 0; i < here.size(); ++i) {
    const at::Tensor step = list_.tensors()[i].to(at::kFloat) - now.tensors()[i].to(at::kFloat);
    EXPECT_TRUE(torch::allclose(moved[i], here[i] + step, 0, 1e-2)) << i;
    EXPECT_TRUE(torch::allclose(there[i], here[i] + 5 - now.tensors()[i].to(at::kFloat), 0, 1e-5))
        << i;
  }
}

TEST_P(EveryFormat, CombinesAndMultipliesLikeFloat32) {
  for (const std::int64_t capacity : {1, 2, 4}) {
    SnapshotStore expected(list_, capacity);
    record_walk(expected, weights_, 6);
    SnapshotStore store(list_, capacity, GetParam());
    record_walk(store, weights_, 6);
    ASSERT_EQ(store.steps(), expected.steps());
    for (std::int64_t count = 1; count <= capacity; ++count) {
      // Sums to 1 and differs for the two tensors.
      std::vector<double> coefficients;
      for (const double scale : {0.5, -0.25}) {
        for (std::int64_t k = 0; k < count; ++k) coefficients.push_back(k == 0 ? 1 : 0);
        for (std::int64_t k = 1; k < count; ++k) {
          coefficients[coefficients.size() - static_cast<std::size_t>(count)] -= scale;
          coefficients[coefficients.size() - static_cast<std::size_t>(count - k)] += scale;
        }
      }
      const TensorList a = list_.allocate_like(TensorList::Precision::kAtLeastFloat32);
      const TensorList b = list_.allocate_like(TensorList::Precision::kAtLeastFloat32);
      EXPECT_EQ(expected.combine(a, coefficients, 2), 0);
      EXPECT_EQ(store.combine(b, coefficients, 2), 0);
      for (std::size_t i = 0; i < weights_.size(); ++i) {
        EXPECT_TRUE(torch::allclose(a.tensors()[i], b.tensors()[i], 0, 2e-4))
            << count << " of " << capacity << ", tensor " << i;
      }
      const std::vector<double> exact = expected.gram(count);
      const std::vector<double> gram = store.gram(count);
      ASSERT_EQ(gram.size(), exact.size());
      const auto n = static_cast<std::size_t>(count);
      for (std::size_t i = 0; i < gram.size(); ++i) {
        const std::size_t matrix = i / (n * n) * n * n;
        const double row = exact[matrix + i / n % n * (n + 1)];
        const double column = exact[matrix + i % n * (n + 1)];
        EXPECT_NEAR(gram[i], exact[i], 0.01 * std::sqrt(row * column)) << "entry " << i;
      }
    }
  }
}

TEST_P(EveryFormat, NewestIsExact) {
  SnapshotStore store(list_, 3, GetParam());
  record_walk(store, weights_, 5);
  const TensorList result = list_.allocate_like(TensorList::Precision::kSame);
  store.combine(result, {1.0, 0.0, 0.0}, 1);
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(result.tensors()[i], weights_[i]));
  }
}

TEST_P(EveryFormat, GoesOnAfterClearAndAfterRestoring) {
  SnapshotStore store(list_, 3, GetParam());
  record_walk(store, weights_, 2);
  store.clear();
  record_walk(store, weights_, 3);
  EXPECT_THAT(store.steps(), ElementsAre(30, 20, 10));
  SnapshotStore restored(list_, 3, GetParam());
  for (std::int64_t i = 0; i < store.size(); ++i) {
    const TensorList& to = restored.restore_older(store.steps()[static_cast<std::size_t>(i)]);
    to.copy_from(store.stored(i));
  }
  for (SnapshotStore* each : {&store, &restored}) each->record(40);
  const TensorList a = list_.allocate_like(TensorList::Precision::kSame);
  const TensorList b = list_.allocate_like(TensorList::Precision::kSame);
  store.combine(a, {2.0, -0.5, -0.5}, 1);
  restored.combine(b, {2.0, -0.5, -0.5}, 1);
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    EXPECT_TRUE(bitwise_equal(a.tensors()[i], b.tensors()[i]));
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryFormat,
                         testing::Values(SnapshotFormat::kFloat32, SnapshotFormat::kBFloat16Deltas,
                                         SnapshotFormat::kHost),
                         [](const auto& instance) { return std::string(name_of(instance.param)); });

TEST(SnapshotStore, TakesTheBytesPerParameterThatItStates) {
  const TensorList weights({at::zeros({1000})});
  EXPECT_EQ(SnapshotStore(weights, 3).byte_count(), 3 * 4000);
  EXPECT_EQ(SnapshotStore(weights, 3, SnapshotFormat::kBFloat16Deltas).byte_count(), 8000);
  EXPECT_EQ(SnapshotStore(weights, 1, SnapshotFormat::kBFloat16Deltas).byte_count(), 4000);
}

TEST(SnapshotStore, DeltasAreRoundedOnceHoweverManySnapshotsFollow) {
  const at::Tensor weight = torch::full({1}, 1.0);
  const TensorList weights({weight});
  SnapshotStore store(weights, 4, SnapshotFormat::kBFloat16Deltas);
  store.record(1);
  weight.fill_(1.0 + 0x1.01p-3);  // a move of nine significant bits, one too many
  store.record(2);
  const float rounded = store.stored(1).tensors()[0].item<float>();
  EXPECT_EQ(rounded, -0x1p-3f);
  for (const int step : {3, 4}) store.record(step);
  EXPECT_EQ(store.stored(3).tensors()[0].item<float>(), rounded);
}

TEST(SnapshotStore, RecordThatIsRefusedLeavesTheSnapshotsThatWereThere) {
  for (const SnapshotFormat format : {SnapshotFormat::kFloat32, SnapshotFormat::kBFloat16Deltas}) {
    at::Tensor weight = torch::ones({3, 4});
    const TensorList weights({weight});
    SnapshotStore store(weights, 2, format);
    store.record(1);
    weight.fill_(2);
    store.record(2);
    weight.set_data(torch::zeros({4, 3}).t());
    EXPECT_THROW(store.record(3), ContractError);
    EXPECT_THAT(store.steps(), ElementsAre(2, 1));
    weight.set_data(torch::zeros({3, 4}));
    store.combine(weights, {2.0, -1.0}, 1);
    EXPECT_TRUE(bitwise_equal(weight, torch::full({3, 4}, 3.0))) << name_of(format);
  }
}

#ifdef LEAPVERIFY_CUDA
TEST(SnapshotStore, TakesNoMoreOfTheGpuThanItStates_cuda) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  const auto allocated = [] {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
    return stats.allocated_bytes[0].current;
  };
  const TensorList weights({torch::zeros({1 << 24}, torch::kCUDA)});
  for (const auto& format : EnumNames<SnapshotFormat>::names) {
    const std::int64_t before = allocated();
    const SnapshotStore store(weights, 3, format.value);
    // Two coefficients more, in blocks of 512 bytes.
    EXPECT_NEAR(static_cast<double>(allocated() - before), static_cast<double>(store.byte_count()),
                2048)
        << format.name;
  }
}
#endif

TEST(SnapshotStore, HostCopiesOnTheGpuAreThoseOfTheMomentOfRecording_cuda) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  const at::Tensor weight = torch::zeros({1 << 24}, torch::kCUDA);
  const TensorList weights({weight});
  SnapshotStore store(weights, 2, SnapshotFormat::kHost);
  EXPECT_EQ(store.byte_count(), 0) << "on the GPU";
  for (const int step : {1, 2}) {
    store.record(step);
    store.let_weights_change();
    weight.fill_(step);
  }
  const TensorList result = weights.allocate_like(TensorList::Precision::kSame);
  EXPECT_EQ(store.combine(result, {3.0, -1.0}, 1), 0);
  EXPECT_TRUE(bitwise_equal(result.tensors()[0], torch::full({1 << 24}, 3.0)));
  EXPECT_TRUE(store.stored(0).tensors()[0].is_pinned());
  EXPECT_TRUE(bitwise_equal(store.stored(0).tensors()[0], torch::ones({1 << 24})));
}

TEST(SnapshotStore, RestoredOldestLast) {
  const TensorList weights({at::zeros({1})});
  SnapshotStore store(weights, 2);
  store.restore_older(20).tensors()[0].fill_(2);
  store.restore_older(10).tensors()[0].fill_(1);
  EXPECT_THAT(store.steps(), ElementsAre(20, 10));
  EXPECT_EQ(store.stored(1).tensors()[0].item<double>(), 1);
  EXPECT_THROW(store.restore_older(5), ContractError);
}

TEST(TensorList, RefusesWhatKernelsCannotTake) {
  EXPECT_THROW(TensorList({at::zeros({4, 4}).t().slice(0, 0, 2)}), ContractError);
}

TEST(TensorList, TakesDenseTensorsInAnyOrderOfDimensions) {
  const at::Tensor weight = torch::randn({2, 3, 4, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  const TensorList weights({weight, torch::randn({4, 6}).t()});
  SnapshotStore store(weights, 1);
  store.record(1);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(bitwise_equal(store.stored(0).tensors()[i], weights.tensors()[i]));
    EXPECT_EQ(store.stored(0).tensors()[i].strides(), weights.tensors()[i].strides());
  }
  const at::Tensor turned = weight;
  turned.set_data(weight.clone(at::MemoryFormat::Contiguous));
  EXPECT_THROW(store.record(2), ContractError) << "its elements are no longer in the same order";
}

TEST(TensorList, DigestSeesEveryDtype) {
  const at::Tensor numbers = at::arange(5);
  const TensorList list({at::zeros({3}), numbers, at::ones({2}, at::kBool)});
  const std::uint64_t before = list.digest();
  EXPECT_EQ(before, list.digest());
  numbers[4] = 9;
  EXPECT_NE(before, list.digest());
}

TEST(TensorList, EmptyListHasNoWork) {
  const TensorList none;
  EXPECT_EQ(none.digest(), 0u);
  none.copy_from(none.allocate_like(TensorList::Precision::kSame));
}

}  // namespace
}  // namespace leapverify

// The ring of snapshots: order, widening, reuse, restoring.
#include <gmock/gmock.h>
#include <leapverify/kernels/error.h>
#include <leapverify/runtime/snapshot_store.h>

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

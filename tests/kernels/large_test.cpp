// More than 2^31 elements in one tensor, and more in all: nothing counts in 32 bits.
#include <leapverify/kernels/adam_direction.h>
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/combine_thread.h>
#include <leapverify/kernels/copy.h>
#include <leapverify/kernels/cosine.h>
#include <leapverify/kernels/gram.h>
#include <leapverify/kernels/mix.h>

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

constexpr std::int64_t kLength = (std::int64_t{1} << 31) + 77;
constexpr std::int64_t kTail = 1000;  // a second tensor after the large one
constexpr std::size_t kBytes = 2 * static_cast<std::size_t>(kLength + kTail);

/// Two bfloat16 tensors in one block: kLength and kTail elements.
class LargeTensors {
 public:
  LargeTensors(Device device, int byte) : memory_(kBytes, device) {
    memory_.fill(byte);
    table_ = std::make_unique<SegmentTable>(
        std::vector<Segment>{{memory_.data(), kLength, DType::kBFloat16},
                             {memory_.data() + 2 * kLength, kTail, DType::kBFloat16}},
        device);
    table_memory_ = std::make_unique<DeviceMemory>(table_->bytes().size(), device);
    table_memory_->upload(table_->bytes().data());
    table_->place(table_memory_->data());
  }

  const SegmentTable& table() const { return *table_; }
  void* data() const { return memory_.data(); }

  void set(std::int64_t index, float value) {
    const BFloat16 element = to_bfloat16(value);
    memory_.upload(2 * static_cast<std::size_t>(index), &element, 2);
  }

  /// Every element is 0 but for those given. `index` counts through both tensors.
  ::testing::AssertionResult holds(const std::map<std::int64_t, float>& expected) const {
    constexpr std::size_t kPart = std::size_t{1} << 26;
    std::vector<BFloat16> part(kPart);
    for (std::size_t begin = 0; begin < kBytes / 2; begin += kPart) {
      const std::size_t count = std::min(kPart, kBytes / 2 - begin);
      memory_.download(2 * begin, part.data(), 2 * count);
      for (std::size_t i = 0; i < count; ++i) {
        if (bits_of(part[i]) == 0) {
          continue;
        }
        const auto index = static_cast<std::int64_t>(begin + i);
        const auto found = expected.find(index);
        if (found == expected.end() || found->second != to_float(part[i])) {
          return ::testing::AssertionFailure()
                 << "element " << index << " is " << to_float(part[i]);
        }
      }
    }
    for (const auto& [index, value] : expected) {
      BFloat16 element;
      memory_.download(2 * static_cast<std::size_t>(index), &element, 2);
      if (to_float(element) != value) {
        return ::testing::AssertionFailure()
               << "element " << index << " is " << to_float(element) << ", expected " << value;
      }
    }
    return ::testing::AssertionSuccess();
  }

 private:
  DeviceMemory memory_;
  std::unique_ptr<SegmentTable> table_;
  std::unique_ptr<DeviceMemory> table_memory_;
};

/// Where 32-bit arithmetic would go astray, and the ends of both tensors.
const std::map<std::int64_t, float> kMarks = {{0, 1.0f},
                                              {(std::int64_t{1} << 31) - 1, 2.0f},
                                              {std::int64_t{1} << 31, 3.0f},
                                              {kLength - 1, 4.0f},
                                              {kLength, 5.0f},
                                              {kLength + kTail - 1, 6.0f}};

std::map<std::int64_t, float> times(float factor) {
  std::map<std::int64_t, float> marks = kMarks;
  for (auto& [index, value] : marks) {
    value *= factor;
  }
  return marks;
}

class Large : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    source_ = std::make_unique<LargeTensors>(device(), 0);
    destination_ = std::make_unique<LargeTensors>(device(), 0xff);  // NaN, where not written
    for (const auto& [index, value] : kMarks) {
      source_->set(index, value);
    }
  }

  std::unique_ptr<LargeTensors> source_;
  std::unique_ptr<LargeTensors> destination_;
};
LV_INSTANTIATE_FOR_DEVICES(Large);

TEST_P(Large, CombineAndCopyReachEveryElement) {
  const DeviceArray<double> factor({2.0}, device());
  const DeviceArray<std::uint64_t> non_finite({0}, device());
  combine(destination_->table(), {&source_->table()}, {factor.data()}, non_finite.data());
  EXPECT_EQ(non_finite.download()[0], 0u);
  EXPECT_TRUE(destination_->holds(times(2.0f)));
  copy(destination_->table(), source_->table());
  EXPECT_TRUE(destination_->holds(kMarks));
}

TEST_P(Large, AdamDirectionReachesEveryElement) {
  AdamRow row = AdamRow::sgd_momentum(1, 0.5);
  row.keep = 4.0;
  const DeviceArray<AdamRow> rows({row}, device());
  adam_direction(destination_->table(), source_->table(), source_->table(), nullptr, {rows.data()});
  EXPECT_TRUE(destination_->holds(times(3.5f)));
}

TEST_P(Large, ChecksumSeesTheLastElement) {
  const auto digest = [&] {
    const DeviceArray<std::uint64_t> value({0}, device());
    checksum(source_->table(), value.data());
    return value.download()[0];
  };
  const std::uint64_t before = digest();
  source_->set(kLength - 1, 7.0f);
  // The word that holds it: four elements, the last of which lie past the tensor's end.
  const std::uint64_t position = static_cast<std::uint64_t>(kLength - 1) / 4;
  const int shift = 16 * static_cast<int>((kLength - 1) % 4);
  const auto term = [&](float value) {
    const auto word = static_cast<std::uint64_t>(bits_of(to_bfloat16(value))) << shift;
    return mix(word ^ ((position + 1) * kGoldenGamma));
  };
  EXPECT_EQ(digest() - before, term(7.0f) - term(4.0f));
}

TEST_P(Large, GramAndCosineAddUpEveryElement) {
  const DeviceArray<double> products({0, 0}, device());
  const DeviceArray<double> workspace(
      std::vector<double>(static_cast<std::size_t>(gram_workspace(source_->table(), 1))), device());
  gram({&source_->table()}, nullptr, products.data(), workspace.data());
  EXPECT_EQ(products.download(), (std::vector<double>{1 + 4 + 9 + 16, 25 + 36}));

  const std::int64_t columns = kLength / 2;
  const MatrixView rows = {source_->data(), 2, columns, DType::kBFloat16};
  source_->set(columns - 1, 2.0f);
  const DeviceArray<double> cosines({0, 0}, device());
  destination_.reset();
  LargeTensors other(device(), 0);
  other.set(columns - 1, 1.0f);
  other.set(2 * columns - 1, 1.0f);
  cosine(rows, {other.data(), 2, columns, DType::kBFloat16}, cosines.data(), device());
  const std::vector<double> actual = cosines.download();
  EXPECT_NEAR(actual[0], 2 / std::sqrt(5.0), 1e-15);
  // The second row holds 2 and 3, and at its end nothing: kLength is odd.
  EXPECT_NEAR(actual[1], 0.0, 1e-15);
}

TEST(LargeLaunch, LastChunkIsThatOfTheCpuVersion) {
  LargeTensors source({}, 0);
  LargeTensors destination({}, 0xff);
  for (const auto& [index, value] : kMarks) {
    source.set(index, value);
  }
  const double factor = 2.0;
  const CombineParameters parameters =
      combine_parameters({&destination.table()}, 0, {&source.table()}, {&factor}, nullptr);
  std::uint64_t non_finite[1] = {0};
  for (std::int64_t c = 0; c < parameters.first.chunk_count; ++c) {
    const Chunk& place = parameters.first.chunks[c];
    if (place.begin < kLength - 3 * kChunkElements && place.segment == 0) {
      continue;
    }
    CombineChunk chunk = {};
    for (int loader = 0; loader < kBlockThreads; ++loader) {
      load_combine_chunk(parameters, c, loader, chunk);
    }
    for (int thread = 0; thread < kBlockThreads; ++thread) {
      combine_thread(chunk, thread, kBlockThreads, non_finite);
    }
  }
  const auto* elements = static_cast<const BFloat16*>(destination.data());
  for (const auto& [index, value] : times(2.0f)) {
    if (index > 0) {
      EXPECT_EQ(to_float(elements[index]), value) << "element " << index;
    }
  }
  EXPECT_EQ(non_finite[0], 0u);
  EXPECT_EQ(bits_of(elements[kLength - 1 - 5 * kChunkElements]), 0xffffu) << "not of these chunks";
}

}  // namespace
}  // namespace leapverify::kernels::testing

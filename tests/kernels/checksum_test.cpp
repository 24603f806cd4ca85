// checksum, on both devices: the documented formula, and what no change may escape.
#include <leapverify/kernels/checksum.h>
#include <leapverify/kernels/mix.h>

#include <gmock/gmock.h>

#include <set>

#include "device_memory.h"

namespace leapverify::kernels::testing {
namespace {

class Checksum : public DeviceTest {};
LV_INSTANTIATE_FOR_DEVICES(Checksum);

std::uint64_t digest_of(const SegmentTable& table) {
  const DeviceArray<std::uint64_t> digest({0}, table.device());
  checksum(table, digest.data());
  return digest.download()[0];
}

/// What elements add to the digest, byte by byte as the header says.
std::uint64_t sum_of_words(Tensors& tensors) {
  std::uint64_t sum = 0;
  for (std::size_t s = 0; s < tensors.size(); ++s) {
    const std::vector<std::byte> bytes = tensors.bytes(s);
    for (std::size_t w = 0; 8 * w < bytes.size(); ++w) {
      std::uint64_t word = 0;
      for (std::size_t i = 0; i < 8 && 8 * w + i < bytes.size(); ++i) {
        word |= static_cast<std::uint64_t>(bytes[8 * w + i]) << (8 * i);
      }
      const std::uint64_t position = (static_cast<std::uint64_t>(s) << 40) + w;
      sum += mix(word ^ ((position + 1) * 0x9e3779b97f4a7c15u));
    }
  }
  return sum;
}

const std::vector<DType> kAllDTypes = {DType::kFloat32, DType::kBFloat16, DType::kFloat16,
                                       DType::kFloat64, DType::kBytes};

TEST_P(Checksum, FollowsTheFormulaAtEdgeLengthsAndAlignments) {
  const std::uint64_t seed = 31;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const std::int64_t shift : {0, 1, 2}) {
    for (std::size_t turn = 0; turn < kAllDTypes.size(); ++turn) {
      std::vector<DType> dtypes = kAllDTypes;
      std::rotate(dtypes.begin(), dtypes.begin() + static_cast<std::ptrdiff_t>(turn), dtypes.end());
      Tensors tensors(edge_specs(dtypes, shift), device());
      Tensors zeros(edge_specs(dtypes, shift), device());
      tensors.randomize(random);
      // The term of the shape is the same for both, whatever it is.
      EXPECT_EQ(digest_of(tensors.table()) - digest_of(zeros.table()),
                sum_of_words(tensors) - sum_of_words(zeros));
    }
  }
}

TEST_P(Checksum, IsTheSameOnEveryDeviceAndForEveryAlignment) {
  const std::uint64_t seed = 32;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::set<std::uint64_t> digests;
  for (const std::int64_t shift : {0, 1, 2}) {
    for (const Device where : {Device{}, device()}) {
      std::mt19937_64 random(seed);
      Tensors tensors(edge_specs(kAllDTypes, shift), where);
      tensors.randomize(random);
      digests.insert(digest_of(tensors.table()));
    }
  }
  EXPECT_EQ(digests.size(), 1u);
}

TEST_P(Checksum, AddsToWhatIsThere) {
  Tensors tensors({{DType::kFloat32, 9}}, device());
  const std::uint64_t digest = digest_of(tensors.table());
  const DeviceArray<std::uint64_t> twice({digest}, device());
  checksum(tensors.table(), twice.data());
  EXPECT_EQ(twice.download()[0], 2 * digest);
}

TEST_P(Checksum, ChangesWithEverySingleBit) {
  const std::uint64_t seed = 33;
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  Tensors tensors({{DType::kFloat32, 5},
                   {DType::kBFloat16, 7, 1},
                   {DType::kBytes, 3, 1},
                   {DType::kFloat64, 2},
                   {DType::kFloat16, 1}},
                  device());
  tensors.randomize(random);
  std::set<std::uint64_t> digests = {digest_of(tensors.table())};
  std::size_t count = 1;
  for (std::size_t s = 0; s < tensors.size(); ++s) {
    for (std::size_t bit = 0; bit < 8 * tensors.byte_count(s); ++bit) {
      const auto mask = static_cast<std::byte>(1u << (bit % 8));
      tensors.host(s)[bit / 8] ^= mask;
      tensors.upload();
      digests.insert(digest_of(tensors.table()));
      ASSERT_EQ(digests.size(), ++count) << "segment " << s << ", bit " << bit;
      tensors.host(s)[bit / 8] ^= mask;
    }
  }
}

TEST_P(Checksum, ChangesWhenAnyTwoUnequalElementsChangePlaces) {
  Tensors tensors({{DType::kFloat32, 12}, {DType::kFloat32, 9, 1}}, device());
  std::vector<std::pair<std::size_t, std::int64_t>> places;
  for (std::size_t s = 0; s < 2; ++s) {
    for (std::int64_t i = 0; i < tensors.spec(s).length; ++i) {
      tensors.set(s, i, static_cast<double>(places.size()));
      places.emplace_back(s, i);
    }
  }
  tensors.upload();
  const std::uint64_t digest = digest_of(tensors.table());
  for (std::size_t a = 0; a < places.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      tensors.set(places[a].first, places[a].second, static_cast<double>(b));
      tensors.set(places[b].first, places[b].second, static_cast<double>(a));
      tensors.upload();
      ASSERT_NE(digest_of(tensors.table()), digest) << "elements " << a << " and " << b;
      tensors.set(places[a].first, places[a].second, static_cast<double>(a));
      tensors.set(places[b].first, places[b].second, static_cast<double>(b));
    }
  }
}

TEST_P(Checksum, DependsOnLengthsOrderAndDTypes) {
  const std::vector<std::vector<TensorSpec>> shapes = {
      {},
      {{DType::kFloat32, 0}},
      {{DType::kFloat32, 0}, {DType::kFloat32, 0}},
      {{DType::kFloat16, 0}},
      {{DType::kFloat32, 4}},
      {{DType::kFloat64, 2}},
      {{DType::kFloat16, 8}},
      {{DType::kBFloat16, 8}},
      {{DType::kBytes, 16}},
      {{DType::kBytes, 15}},
      {{DType::kFloat32, 1}, {DType::kFloat32, 3}},
      {{DType::kFloat32, 3}, {DType::kFloat32, 1}},
      {{DType::kFloat32, 4}, {DType::kFloat32, 0}},
      {{DType::kFloat32, 0}, {DType::kFloat32, 4}}};
  std::set<std::uint64_t> digests;
  for (const auto& shape : shapes) {
    Tensors zeros(shape, device());
    digests.insert(digest_of(zeros.table()));
  }
  EXPECT_EQ(digests.size(), shapes.size());
}

TEST_P(Checksum, RefusesANullDigest) {
  Tensors tensors({{DType::kFloat32, 4}}, device());
  EXPECT_REFUSED(checksum(tensors.table(), nullptr), "digest is null");
}

}  // namespace
}  // namespace leapverify::kernels::testing

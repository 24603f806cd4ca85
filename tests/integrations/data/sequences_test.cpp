#include <gmock/gmock.h>
#include <leapverify/integrations/data/sequences.h>

#include "integrations/data/token_files.h"

namespace leapverify::data {
namespace {

using testing::counting;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::packed;

constexpr std::int64_t kContext = 4;
constexpr std::int64_t kFiller = 99;

/// Tokens 0, 1, 2, … that end with the last segment.
class Cut {
 public:
  Cut(std::vector<Segment> segments, bool whole_documents)
      : bytes_(packed<std::uint16_t>(counting(0, 100))), corpus_(), sequences_(nullptr) {
    corpus_.tokens.append(bytes_.data(), 100, 2);
    corpus_.whole_documents = whole_documents;
    corpus_.document_end = kFiller;
    sequences_ = std::make_unique<Sequences>(corpus_, std::move(segments), kContext);
  }

  const Sequences& sequences() const { return *sequences_; }
  std::vector<std::int64_t> tokens(std::int64_t index) const { return written(index).first; }
  std::vector<std::int64_t> targets(std::int64_t index) const { return written(index).second; }

 private:
  std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> written(
      std::int64_t index) const {
    std::vector<std::int64_t> tokens(kContext), targets(kContext);
    sequences_->write(index, tokens.data(), targets.data());
    return {tokens, targets};
  }

  std::string bytes_;
  Corpus corpus_;
  std::unique_ptr<Sequences> sequences_;
};

TEST(Sequences, OfARunMayBeginAnywhereAndSpanSegments) {
  const Cut cut({{0, 3, 0}, {10, 10, 10}, {20, 26, 20}}, false);
  EXPECT_EQ(cut.sequences().tokens(), 9);
  ASSERT_EQ(cut.sequences().size(), 5);
  EXPECT_THAT(cut.tokens(0), ElementsAre(0, 1, 2, 20));
  EXPECT_THAT(cut.targets(0), ElementsAre(1, 2, 20, 21));
  EXPECT_THAT(cut.tokens(3), ElementsAre(20, 21, 22, 23));
  EXPECT_THAT(cut.tokens(4), ElementsAre(21, 22, 23, 24));
  EXPECT_THAT(cut.targets(4), ElementsAre(22, 23, 24, 25));
  EXPECT_THAT(cut.sequences().disjoint(), ElementsAre(0));
  EXPECT_THAT(Cut({{0, 10, 0}}, false).sequences().disjoint(), ElementsAre(0, 5));
  EXPECT_THAT(Cut({{0, 4, 0}}, false).sequences().disjoint(), IsEmpty());
}

TEST(Sequences, OfWholeDocumentsAreFilledUpWithTargetsThatDoNotCount) {
  const Cut cut({{0, 3, 0}, {20, 27, 20}}, true);
  ASSERT_EQ(cut.sequences().size(), 3);
  EXPECT_THAT(cut.tokens(0), ElementsAre(0, 1, kFiller, kFiller));
  EXPECT_THAT(cut.targets(0), ElementsAre(1, 2, kIgnored, kIgnored));
  EXPECT_THAT(cut.tokens(1), ElementsAre(20, 21, 22, 23));
  EXPECT_THAT(cut.targets(1), ElementsAre(21, 22, 23, 24));
  EXPECT_THAT(cut.tokens(2), ElementsAre(24, 25, kFiller, kFiller));
  EXPECT_THAT(cut.targets(2), ElementsAre(25, 26, kIgnored, kIgnored));
  EXPECT_THAT(cut.sequences().disjoint(), ElementsAre(0, 1, 2));
}

TEST(Sequences, TargetsInAPromptDoNotCount) {
  const Cut cut({{10, 14, 12}, {20, 30, 21}}, true);
  ASSERT_EQ(cut.sequences().size(), 2);
  EXPECT_THAT(cut.tokens(0), ElementsAre(10, 11, 12, kFiller));
  EXPECT_THAT(cut.targets(0), ElementsAre(kIgnored, 12, 13, kIgnored));
  EXPECT_THAT(cut.tokens(1), ElementsAre(20, 21, 22, 23));
  EXPECT_THAT(cut.targets(1), ElementsAre(21, 22, 23, 24));
}

TEST(Sequences, ADocumentWithoutATargetThatCountsIsLeftOut) {
  const Cut cut({{10, 20, 14}, {30, 40, 35}, {50, 51, 50}}, true);
  ASSERT_EQ(cut.sequences().size(), 1);
  EXPECT_THAT(cut.targets(0), ElementsAre(kIgnored, kIgnored, kIgnored, 14));
  EXPECT_EQ(cut.sequences().left_out(), 2);
  EXPECT_EQ(cut.sequences().tokens(), 21);
}

TEST(Sequences, TheHashTellsTokensDocumentsAndPromptsApart) {
  const auto hash = [](const std::vector<Segment>& segments, bool whole) {
    return Cut(segments, whole).sequences().hash();
  };
  EXPECT_EQ(hash({{0, 5, 0}, {5, 9, 5}}, false), hash({{0, 9, 0}}, false));
  EXPECT_NE(hash({{0, 9, 0}}, false), hash({{1, 10, 1}}, false));
  EXPECT_NE(hash({{0, 5, 0}, {5, 9, 5}}, true), hash({{0, 9, 0}}, true));
  EXPECT_NE(hash({{0, 9, 0}}, true), hash({{0, 9, 1}}, true));
}

}  // namespace
}  // namespace leapverify::data

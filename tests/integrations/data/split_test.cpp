#include <gmock/gmock.h>
#include <leapverify/integrations/data/split.h>
#include <leapverify/integrations/data/text.h>

#include <algorithm>
#include <map>

#include "integrations/data/token_files.h"
#include "integrations/temporary_folder.h"

namespace leapverify::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::llmc16;
using testing::packed;
using ::testing::ThrowsMessage;

constexpr std::int64_t kSequence = 10;

/// Documents of these lengths; nothing is read from them.
Corpus corpus_of(const std::vector<std::int64_t>& lengths) {
  Corpus corpus;
  std::int64_t begin = 0;
  for (const std::int64_t length : lengths) {
    corpus.documents.push_back({begin, begin});
    begin += length;
  }
  corpus.tokens.append(nullptr, begin, 1);
  corpus.validation_from = begin;
  corpus.why_one_document = "it is one";
  return corpus;
}

DataOptions options_of(double gate, double validation, std::int64_t seed = 0) {
  DataOptions options;
  options.gate_share = gate;
  options.validation_share = validation;
  options.seed = seed;
  return options;
}

std::vector<std::pair<std::int64_t, std::int64_t>> ranges(const std::vector<Segment>& segments) {
  std::vector<std::pair<std::int64_t, std::int64_t>> result;
  for (const Segment& one : segments) result.emplace_back(one.begin, one.end);
  return result;
}

/// How often each token is in a split.
std::vector<int> coverage(const Splits& splits, std::int64_t tokens) {
  std::vector<int> times(static_cast<std::size_t>(tokens));
  for (const auto* split : {&splits.train, &splits.gate, &splits.validation}) {
    for (const Segment& one : *split) {
      for (std::int64_t i = one.begin; i < one.end; ++i) ++times[static_cast<std::size_t>(i)];
    }
  }
  return times;
}

std::vector<std::int64_t> lengths_of(std::size_t documents) {
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i < documents; ++i) {
    lengths.push_back(20 + static_cast<std::int64_t>(i * i % 37));
  }
  return lengths;
}

TEST(Split, EveryDocumentIsInExactlyOneSplitAsAWhole) {
  for (std::int64_t seed = 0; seed < 20; ++seed) {
    const Corpus corpus = corpus_of(lengths_of(200));
    const Splits splits = split_corpus(corpus, options_of(0.1, 0.05, seed), kSequence);
    EXPECT_EQ(coverage(splits, corpus.tokens.size()),
              std::vector<int>(static_cast<std::size_t>(corpus.tokens.size()), 1));
    for (const auto* split : {&splits.train, &splits.gate, &splits.validation}) {
      for (const Segment& one : *split) {
        for (const std::int64_t cut : {one.begin, one.end}) {
          const bool boundary =
              cut == corpus.tokens.size() ||
              std::any_of(corpus.documents.begin(), corpus.documents.end(),
                          [&](const Document& document) { return document.begin == cut; });
          EXPECT_TRUE(boundary) << cut;
        }
      }
    }
  }
}

TEST(Split, HeldOutSharesAreFilledAndNotExceeded) {
  const Corpus corpus = corpus_of(lengths_of(1000));
  const Splits splits = split_corpus(corpus, options_of(0.1, 0.05), kSequence);
  const auto share = [&](const std::vector<Segment>& split) {
    return static_cast<double>(tokens_in(split)) / static_cast<double>(corpus.tokens.size());
  };
  EXPECT_LE(share(splits.gate), 0.1);
  EXPECT_GT(share(splits.gate), 0.099);
  EXPECT_LE(share(splits.validation), 0.05);
  EXPECT_GT(share(splits.validation), 0.049);
}

TEST(Split, TheSeedChoosesTheDocuments) {
  const Corpus corpus = corpus_of(lengths_of(200));
  const auto gate = [&](std::int64_t seed) {
    return ranges(split_corpus(corpus, options_of(0.1, 0.05, seed), kSequence).gate);
  };
  EXPECT_EQ(gate(0), gate(0));
  EXPECT_NE(gate(0), gate(1));
}

TEST(Split, TooSmallAShareTakesTheShortestDocumentThatMakesASequence) {
  const Corpus corpus = corpus_of({500, 9, 100, 90, 400});
  const Splits splits = split_corpus(corpus, options_of(0.001, 0.001), kSequence);
  EXPECT_EQ(ranges(splits.gate), (decltype(ranges({})){{609, 699}}));
  EXPECT_EQ(ranges(splits.validation), (decltype(ranges({})){{509, 609}}));
  EXPECT_EQ(splits.description, "split by documents: 3 to train on, 1 gate, 1 validation");
}

TEST(Split, OneDocumentIsSplitIntoRanges) {
  const Splits splits = split_corpus(corpus_of({1000}), options_of(0.1, 0.05), kSequence);
  EXPECT_EQ(ranges(splits.train), (decltype(ranges({})){{0, 850}}));
  EXPECT_EQ(ranges(splits.gate), (decltype(ranges({})){{850, 950}}));
  EXPECT_EQ(ranges(splits.validation), (decltype(ranges({})){{950, 1000}}));
  EXPECT_EQ(splits.description, "split by ranges: it is one");
}

TEST(Split, DocumentsThatWouldTakeMostOfTrainAreCutIntoRanges) {
  const Corpus corpus = corpus_of({5, 1000, 1000});
  const Splits splits = split_corpus(corpus, options_of(0.1, 0.1), kSequence);
  EXPECT_EQ(splits.description, "split by ranges: documents of too uneven a size");
  EXPECT_EQ(ranges(splits.train), (decltype(ranges({})){{0, 1605}}));
}

TEST(Split, FilesOfTheirOwnAreValidationWhateverTheShare) {
  Corpus corpus = corpus_of({300, 300, 300, 300, 50, 60});
  corpus.validation_from = 1200;
  for (const double share : {0.001, 0.5}) {
    const Splits splits = split_corpus(corpus, options_of(0.3, share), kSequence);
    EXPECT_EQ(ranges(splits.validation), (decltype(ranges({})){{1200, 1310}}));
    EXPECT_EQ(tokens_in(splits.train), 900);
    EXPECT_EQ(tokens_in(splits.gate), 300);
    EXPECT_THAT(splits.description, HasSubstr("; validation is the files of that name"));
  }
  corpus.documents.erase(corpus.documents.begin() + 1, corpus.documents.begin() + 4);
  const Splits splits = split_corpus(corpus, options_of(0.25, 0.5), kSequence);
  EXPECT_EQ(ranges(splits.train), (decltype(ranges({})){{0, 900}}));
  EXPECT_EQ(ranges(splits.gate), (decltype(ranges({})){{900, 1200}}));
  EXPECT_EQ(ranges(splits.validation), (decltype(ranges({})){{1200, 1310}}));
}

class SplitTextTest : public leapverify::testing::TemporaryFolder {
 protected:
  DataOptions options_for(const std::string& relative) const {
    DataOptions options = options_of(0.1, 0.1);
    options.path = path(relative);
    return options;
  }

  static constexpr std::int64_t kContext = kSequence - 1;

  /// How often each token stands in the inputs and targets of all sequences of a split.
  template <class Read>
  static std::map<std::int64_t, int> counts(std::int64_t sequences, Read read) {
    std::map<std::int64_t, int> result;
    std::vector<std::int64_t> tokens(kContext), targets(kContext);
    for (std::int64_t i = 0; i < sequences; ++i) {
      read(i, tokens.data(), targets.data());
      for (const auto* part : {&tokens, &targets}) {
        for (const std::int64_t token : *part) ++result[token];
      }
    }
    return result;
  }

  struct Counts {
    std::map<std::int64_t, int> train, gate, validation;
  };

  static Counts counts_of(const Text& text) {
    return {
        counts(3000, [&](auto i, auto* tokens,
                         auto* targets) { text.train_batch(i, 0, 1, tokens, targets); }),
        counts(text.gate_size(), [&](auto i, auto* tokens,
                                     auto* targets) { text.gate_sequence(i, tokens, targets); }),
        counts(text.validation_size(), [&](auto i, auto* tokens, auto* targets) {
          text.validation_sequence(i, tokens, targets);
        })};
  }

  static void expect_disjoint(const Counts& counts, std::size_t kinds) {
    for (const auto& [token, times] : counts.gate) EXPECT_EQ(counts.train.count(token), 0u);
    for (const auto& [token, times] : counts.validation) {
      EXPECT_EQ(counts.train.count(token) + counts.gate.count(token), 0u);
    }
    EXPECT_EQ(counts.train.size() + counts.gate.size() + counts.validation.size(), kinds);
  }
};

TEST_F(SplitTextTest, TextFilesStayWhole) {
  for (char letter = 'a'; letter < 'a' + 20; ++letter) {
    write(std::string("d/") + letter, std::string(50, letter));
  }
  const Text text(options_for("d"), 256, kContext, 4);
  EXPECT_EQ(text.gate_size(), 10);
  EXPECT_EQ(text.validation_size(), 10);
  EXPECT_EQ(text.summary().description, "split by documents: 16 to train on, 2 gate, 2 validation");
  expect_disjoint(counts_of(text), 20);
}

TEST_F(SplitTextTest, FewerFilesThanSplitsAreCutIntoRanges) {
  write("d/a", std::string(200, 'a'));
  write("d/b", std::string(200, 'b'));
  const Text text(options_for("d"), 256, kContext, 4);
  EXPECT_EQ(text.summary().description, "split by ranges: fewer documents than splits");
  EXPECT_EQ(text.summary().train.tokens, 320);
  EXPECT_EQ(text.gate_size(), 4);
  EXPECT_EQ(text.validation_size(), 4);
}

TEST_F(SplitTextTest, TooLittleToTrainOnIsRefused) {
  for (const char* name : {"d/a", "d/b", "d/c", "d/e", "d/f"}) write(name, std::string(11, *name));
  EXPECT_THAT([&] { Text(options_for("d"), 256, kContext, 4); },
              ThrowsMessage<DataError>(AllOf(
                  HasSubstr("d gives 33 of its 55 bytes to train, split by documents: 3 to train "
                            "on, 1 gate, 1 validation; expected at least 4 sequences of 10"),
                  HasSubstr("; more documents (or one, cut into ranges), a smaller batch.context "
                            "or a smaller batch"))));
}

/// Documents of 20 tokens first + n, each with the token 7 before or behind it.
std::vector<std::int64_t> delimited(std::int64_t documents, bool before, std::int64_t first = 100) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t n = 0; n < documents; ++n) {
    if (before) tokens.push_back(7);
    tokens.insert(tokens.end(), 20, first + n);
    if (!before) tokens.push_back(7);
  }
  return tokens;
}

TEST_F(SplitTextTest, TokenFilesAreSplitAtTheTokenBetweenDocuments) {
  DataOptions options = options_for("a.bin");
  options.document_end = 7;
  for (const bool before : {true, false}) {
    write("a.bin", llmc16(delimited(40, before)));
    const Text text(options, 200, kContext, 4);
    EXPECT_EQ(text.summary().description,
              std::string("split by documents: 32 to train on, 4 gate, 4 validation; documents ") +
                  (before ? "begin" : "end") + " with token 7");
    EXPECT_FALSE(text.is_bytes());
    EXPECT_EQ(text.prompt(), 7);
    Counts counts = counts_of(text);
    for (auto* split : {&counts.train, &counts.gate, &counts.validation}) split->erase(7);
    expect_disjoint(counts, 40);
  }
}

TEST_F(SplitTextTest, TheUsualTokenBetweenDocumentsIsGpt2s) {
  std::vector<std::int64_t> tokens = delimited(40, true);
  std::replace(tokens.begin(), tokens.end(), std::int64_t{7}, std::int64_t{50256});
  write("a.bin", llmc16(tokens));
  EXPECT_THAT(Text(options_for("a.bin"), 50257, kContext, 4).summary().description,
              HasSubstr("split by documents"));
  write("a.bin", testing::llmc32(tokens));
  EXPECT_EQ(Text(options_for("a.bin"), 50257, kContext, 4).summary().description,
            "split by ranges: data.document_end is not set");
}

TEST_F(SplitTextTest, TokenFilesWithoutThatTokenAreSplitByRangesWhichIsSaid) {
  write("a.bin", llmc16(std::vector<std::int64_t>(1000, 5)));
  const Text text(options_for("a.bin"), 200, kContext, 4);
  EXPECT_EQ(text.summary().description,
            "split by ranges: token 50256 (data.document_end) does not occur");
  EXPECT_EQ(text.summary().train.tokens, 800);
  EXPECT_EQ(text.summary().unit, "tokens");
  EXPECT_EQ(text.prompt(), 0);
}

TEST_F(SplitTextTest, FilesCalledValAreTheValidationSplit) {
  write("d/train.bin", packed<std::uint16_t>(std::vector<std::int64_t>(1000, 5)));
  write("d/val.bin", packed<std::uint16_t>(std::vector<std::int64_t>(100, 6)));
  const Text nano(options_for("d"), 200, kContext, 4);
  const Counts counts = counts_of(nano);
  EXPECT_EQ(counts.validation, (std::map<std::int64_t, int>{{6, 180}}));
  EXPECT_EQ(counts.train.count(6) + counts.gate.count(6), 0u);
  EXPECT_EQ(nano.summary().train.tokens, 900);
  EXPECT_EQ(nano.summary().files, 2);

  write("e/text_val_000000.bin", llmc16(std::vector<std::int64_t>(50, 6)));
  write("e/text_train_000001.bin", llmc16(std::vector<std::int64_t>(500, 5)));
  write("e/text_train_000002.bin", llmc16(std::vector<std::int64_t>(500, 5)));
  const Text shards(options_for("e"), 200, kContext, 4);
  EXPECT_EQ(shards.summary().validation.tokens, 50);
  EXPECT_EQ(shards.summary().train.tokens, 900);
  EXPECT_THAT(shards.summary().description, HasSubstr("; validation is the files of that name"));

  write("f/interval.bin", llmc16(std::vector<std::int64_t>(1000, 5)));
  EXPECT_EQ(Text(options_for("f"), 200, kContext, 4).summary().validation.tokens, 100);
  write("g/val.bin", llmc16(std::vector<std::int64_t>(1000, 5)));
  EXPECT_EQ(Text(options_for("g"), 200, kContext, 4).summary().validation.tokens, 100);
}

TEST_F(SplitTextTest, AFileCalledValBeginsADocument) {
  std::vector<std::int64_t> train = delimited(30, false);
  train.pop_back();
  write("d/train.bin", packed<std::uint16_t>(train));
  write("d/val.bin", packed<std::uint16_t>(delimited(5, false, 150)));
  DataOptions options = options_for("d");
  options.document_end = 7;
  const Text text(options, 200, kContext, 4);
  Counts counts = counts_of(text);
  EXPECT_EQ(text.summary().validation.tokens, 5 * 21);
  EXPECT_EQ(counts.train.count(150) + counts.gate.count(150), 0u);
  EXPECT_EQ(counts.validation.count(150), 1u);
}

}  // namespace
}  // namespace leapverify::data

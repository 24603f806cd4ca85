#include <gmock/gmock.h>
#include <leapverify/integrations/data/corpus.h>
#include <leapverify/runtime/durable_files.h>

#include "integrations/data/token_files.h"
#include "integrations/temporary_folder.h"

namespace leapverify::data {
namespace {

using ::testing::AllOf;
using testing::counting;
using ::testing::HasSubstr;
using testing::llmc16;
using testing::llmc32;
using testing::packed;
using ::testing::ThrowsMessage;

constexpr std::int64_t kVocabulary = 1000;

class CorpusTest : public leapverify::testing::TemporaryFolder {
 protected:
  Corpus load(const std::string& relative, DataFormat format = DataFormat::kAuto,
              const std::vector<std::string>& shards = {}) const {
    DataOptions options;
    options.path = path(relative);
    options.format = format;
    options.shards = shards;
    return load_corpus(options, kVocabulary);
  }

  static std::vector<std::int64_t> tokens_of(const Corpus& corpus) {
    std::vector<std::int64_t> tokens(static_cast<std::size_t>(corpus.tokens.size()));
    corpus.tokens.read(0, corpus.tokens.size(), tokens.data());
    return tokens;
  }
};

TEST_F(CorpusTest, TheFormatIsSeenByItself) {
  write("text", "words");
  EXPECT_EQ(load("text").unit, "bytes");
  write("some.bin", llmc16(counting(0, 5)));
  EXPECT_EQ(tokens_of(load("some.bin")), counting(0, 5));
  write("wide/some.bin", llmc32(counting(0, 5)));
  EXPECT_EQ(tokens_of(load("wide")), counting(0, 5));
  write("nano/train.bin", packed<std::uint16_t>(counting(0, 5)));
  EXPECT_EQ(tokens_of(load("nano/train.bin")), counting(0, 5));
  EXPECT_EQ(tokens_of(load("nano")), counting(0, 5));
}

TEST_F(CorpusTest, AGivenFormatWins) {
  write("train.bin", "abcd");
  EXPECT_EQ(load("train.bin", DataFormat::kBytes).unit, "bytes");
  write("other.bin", packed<std::uint16_t>({7, 8}));
  EXPECT_EQ(tokens_of(load("other.bin", DataFormat::kNanoGpt)), (std::vector<std::int64_t>{7, 8}));
  EXPECT_THAT([&] { load("other.bin", DataFormat::kLlmc); },
              ThrowsMessage<DataError>(HasSubstr("other.bin has 4 bytes")));
}

TEST_F(CorpusTest, AFolderOfShardsIsReadInTheOrderOfTheirNames) {
  write("d/s_000002.bin", llmc16(counting(20, 3)));
  write("d/s_000001.bin", llmc16(counting(10, 3)));
  write("d/notes.txt", "no tokens");
  const Corpus corpus = load("d");
  EXPECT_EQ(tokens_of(corpus), (std::vector<std::int64_t>{10, 11, 12, 20, 21, 22}));
  EXPECT_EQ(corpus.files, 2);
}

TEST_F(CorpusTest, NamedShardsAreReadInTheOrderGiven) {
  for (int i = 0; i < 3; ++i) {
    write("d/" + std::to_string(i) + ".bin", llmc16(counting(10 * i, 2)));
  }
  EXPECT_EQ(tokens_of(load("d", DataFormat::kAuto, {"2.bin", "0.bin"})),
            (std::vector<std::int64_t>{20, 21, 0, 1}));
  EXPECT_THAT([&] { load("d", DataFormat::kAuto, {"3.bin"}); },
              ThrowsMessage<FileError>(HasSubstr("3.bin: cannot open")));
}

TEST_F(CorpusTest, ATokenOutsideTheVocabularyIsRefusedWithItsPlace) {
  write("d/1.bin", llmc16(counting(0, 1000)));
  std::vector<std::int64_t> tokens(100000, 5);
  tokens[70000] = 1000;
  const std::string file = write("d/2.bin", llmc16(tokens));
  EXPECT_THAT(
      [&] { load("d"); },
      ThrowsMessage<DataError>(file + " has token 1000 at position 70000; expected tokens below "
                                      "the model's vocabulary of 1000"));
}

TEST_F(CorpusTest, PathsWithoutTokenFilesAreRefused) {
  write("d/notes.txt", "no tokens");
  EXPECT_THAT([&] { load("d", DataFormat::kLlmc); },
              ThrowsMessage<DataError>(path("d") +
                                       " holds no token files; expected files that end in .bin"));
  EXPECT_THAT([&] { load("none", DataFormat::kNanoGpt); },
              ThrowsMessage<FileError>(HasSubstr("none: cannot open")));
  EXPECT_THAT([&] { load_corpus(DataOptions(), kVocabulary); },
              ThrowsMessage<DataError>(HasSubstr("data.path is not set")));
}

/// A dataset.json.
std::string dataset(const std::string& vocabulary = "300", const std::string& first_size = "7",
                    std::size_t documents = 3) {
  return R"({"version": 1, "vocabulary": )" + vocabulary +
         R"(, "tokenizer": "sha256:ab", "document_end": 3, "documents": )" +
         std::to_string(documents) + R"(, "whole_documents": true, "shards": [
          {"file": "tokens_000000.bin", "tokens": )" +
         first_size + R"(}, {"file": "tokens_000001.bin", "tokens": 5}]})";
}

class PreparedTest : public CorpusTest {
 protected:
  /// Three documents in two shards, of 4, 5 and 3 tokens; the second has a prompt of 2.
  void write_prepared(const std::string& json = dataset(),
                      const std::vector<std::int64_t>& index = {0, 0, 4, 6, 9, 9}) const {
    write("p/tokens_000000.bin", llmc16(counting(0, 7)));
    write("p/tokens_000001.bin", llmc16(counting(7, 5)));
    write("p/documents.index", packed<std::int64_t>(index));
    write("p/dataset.json", json);
  }
};

TEST_F(PreparedTest, DocumentsPromptsAndTokenizerAreRead) {
  write_prepared();
  const Corpus corpus = load("p");
  EXPECT_EQ(tokens_of(corpus), counting(0, 12));
  ASSERT_EQ(corpus.documents.size(), 3u);
  EXPECT_EQ(corpus.documents[1].begin, 4);
  EXPECT_EQ(corpus.documents[1].counted_from, 6);
  EXPECT_TRUE(corpus.whole_documents);
  EXPECT_EQ(corpus.document_end, 3);
  EXPECT_EQ(corpus.origin, "vocabulary of 300, tokenizer sha256:ab");
}

TEST_F(PreparedTest, AVocabularyLargerThanTheModelsIsRefused) {
  write_prepared(dataset("1001"));
  EXPECT_THAT([&] { load("p"); },
              ThrowsMessage<DataError>(path("p/dataset.json") +
                                       " has a vocabulary of 1001; expected at most the model's, "
                                       "which is 1000"));
}

TEST_F(PreparedTest, ShardsOfAnotherSizeAreRefused) {
  write_prepared(dataset("300", "6", 1), {0, 0});
  EXPECT_THAT([&] { load("p"); }, ThrowsMessage<DataError>(path("p/tokens_000000.bin") +
                                                           " has 7 tokens; expected the 6 of " +
                                                           path("p/dataset.json")));
}

TEST_F(PreparedTest, AnIndexThatDoesNotFitIsRefused) {
  const std::vector<std::vector<std::int64_t>> wrong = {
      {1, 1}, {0, 0, 4, 3}, {0, 0, 4, 9, 9, 9}, {0, 0, 4, 4, 4, 4}, {0, 0, 12, 12}, {0, 12}};
  for (const auto& index : wrong) {
    write_prepared(dataset("300", "7", index.size() / 2), index);
    EXPECT_THAT([&] { load("p"); },
                ThrowsMessage<DataError>(AllOf(HasSubstr("documents.index has document "),
                                               HasSubstr("end with the 12 tokens"))));
  }
  write_prepared(dataset(), {0, 0, 4});
  EXPECT_THAT([&] { load("p"); }, ThrowsMessage<DataError>(HasSubstr(
                                      "documents.index has 24 bytes; expected 16 for each of 3")));
  write_prepared(dataset(), {});
  EXPECT_THAT([&] { load("p"); }, ThrowsMessage<DataError>(HasSubstr(
                                      "documents.index has 0 bytes; expected 16 for each of 3")));
}

TEST_F(PreparedTest, AnIndexThatWasCutShortIsRefused) {
  write_prepared(dataset(), {0, 0, 4, 6});
  EXPECT_THAT([&] { load("p"); },
              ThrowsMessage<DataError>(HasSubstr("documents.index has 32 bytes; expected 16 for "
                                                 "each of 3 documents")));
}

TEST_F(PreparedTest, ATokenBetweenDocumentsBeyondTheVocabularyIsRefused) {
  write_prepared(dataset("3"));
  EXPECT_THAT([&] { load("p"); },
              ThrowsMessage<DataError>(HasSubstr("has document_end 3; expected a token below its "
                                                 "vocabulary of 3")));
}

TEST_F(PreparedTest, ADescriptionThatCannotBeUsedIsRefused) {
  write_prepared("{");
  EXPECT_THAT([&] { load("p"); }, ThrowsMessage<FormatError>(HasSubstr("dataset.json: not JSON")));
  write_prepared(R"({"version": 1})");
  EXPECT_THAT([&] { load("p"); },
              ThrowsMessage<DataError>(AllOf(HasSubstr("dataset.json cannot be used: key"),
                                             HasSubstr("'vocabulary' not found"))));
  write_prepared(R"({"version": 2})");
  EXPECT_THAT([&] { load("p"); }, ThrowsMessage<DataError>(
                                      HasSubstr("dataset.json has version 2; expected version 1")));
}

TEST_F(PreparedTest, ShardsMayNotBeNamedAgain) {
  write_prepared();
  EXPECT_THAT([&] { load("p", DataFormat::kAuto, {"tokens_000000.bin"}); },
              ThrowsMessage<DataError>(HasSubstr("data.shards names shards; expected []")));
}

}  // namespace
}  // namespace leapverify::data

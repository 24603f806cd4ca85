#include <gmock/gmock.h>
#include <leapverify/integrations/data/text.h>

#include <map>
#include <set>

#include "integrations/temporary_folder.h"

namespace leapverify::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::int64_t kContext = 9;
constexpr std::int64_t kVocabulary = 256;

struct Batch {
  explicit Batch(std::int64_t rows)
      : tokens(static_cast<std::size_t>(rows * kContext)), targets(tokens.size()) {}
  std::vector<std::int64_t> tokens, targets;
};

class TextTest : public testing::TemporaryFolder {
 protected:
  /// 1000 bytes: 800 of train, then 100 of gate, then 100 of validation.
  Text text_of(const std::string& content, std::int64_t seed = 0) const {
    DataOptions options;
    options.path = write("text", content);
    options.gate_share = 0.1;
    options.validation_share = 0.1;
    options.seed = seed;
    return Text(options, kVocabulary, kContext, 4);
  }

  /// Splits that can be told apart, with their first and last bytes marked.
  static std::string marked() {
    const auto part = [](char first, char inner, char last, std::size_t bytes) {
      return first + std::string(bytes - 2, inner) + last;
    };
    return part('A', 'a', '1', 800) + part('B', 'b', '2', 100) + part('C', 'c', '3', 100);
  }

  /// Bytes that differ from their neighbours.
  static std::string counted() {
    std::string content;
    for (int i = 0; i < 250; ++i) content += std::to_string(1000 + i);
    return content;
  }

  static Batch train_batch(const Text& text, std::int64_t step, std::int64_t rows = 4,
                           std::int64_t first = 0) {
    Batch batch(rows);
    text.train_batch(step, first, rows, batch.tokens.data(), batch.targets.data());
    return batch;
  }

  static void count(const Batch& batch, std::map<char, int>& counts) {
    for (const std::int64_t byte : batch.tokens) ++counts[static_cast<char>(byte)];
    for (const std::int64_t byte : batch.targets) ++counts[static_cast<char>(byte)];
  }

  static std::set<char> keys(const std::map<char, int>& counts) {
    std::set<char> result;
    for (const auto& [byte, times] : counts) result.insert(byte);
    return result;
  }
};

TEST_F(TextTest, TrainBatchesReachAllOfTrainAndNothingElse) {
  const Text text = text_of(marked());
  std::map<char, int> counts;
  for (std::int64_t step = 0; step < 2000; ++step) count(train_batch(text, step), counts);
  EXPECT_EQ(keys(counts), (std::set<char>{'A', 'a', '1'}));
}

TEST_F(TextTest, HeldOutSequencesStayInTheirSplitAndDoNotOverlap) {
  const Text text = text_of(marked());
  ASSERT_EQ(text.gate_size(), 10);
  ASSERT_EQ(text.validation_size(), 10);
  std::map<char, int> gate, validation;
  for (std::int64_t i = 0; i < 10; ++i) {
    Batch batch(1);
    text.gate_sequence(i, batch.tokens.data(), batch.targets.data());
    count(batch, gate);
    text.validation_sequence(i, batch.tokens.data(), batch.targets.data());
    count(batch, validation);
  }
  EXPECT_EQ(gate, (std::map<char, int>{{'B', 1}, {'b', 178}, {'2', 1}}));
  EXPECT_EQ(validation, (std::map<char, int>{{'C', 1}, {'c', 178}, {'3', 1}}));
}

TEST_F(TextTest, TargetsAreTheNextTokens) {
  const std::string content = counted();
  const Text text = text_of(content);
  Batch batch = train_batch(text, 3);
  for (std::size_t row = 0; row < 4; ++row) {
    const std::string window(batch.tokens.begin() + static_cast<std::ptrdiff_t>(row * 9),
                             batch.tokens.begin() + static_cast<std::ptrdiff_t>(row * 9 + 9));
    const std::string next(batch.targets.begin() + static_cast<std::ptrdiff_t>(row * 9),
                           batch.targets.begin() + static_cast<std::ptrdiff_t>(row * 9 + 9));
    EXPECT_EQ(window.substr(1), next.substr(0, 8));
    EXPECT_NE(content.find(window + next.back()), std::string::npos);
  }
}

TEST_F(TextTest, ABatchIsAFunctionOfSeedAndStepAlone) {
  const Text text = text_of(counted());
  const Text again = text_of(counted());
  const Text other = text_of(counted(), 1);
  const Batch fifth = train_batch(text, 5);
  for (const std::int64_t step : {9, 0, 7}) train_batch(again, step);
  EXPECT_EQ(train_batch(again, 5).tokens, fifth.tokens);
  EXPECT_EQ(train_batch(text, 5).targets, fifth.targets);
  EXPECT_NE(train_batch(text, 6).tokens, fifth.tokens);
  EXPECT_NE(train_batch(other, 5).tokens, fifth.tokens);
}

TEST_F(TextTest, ARowDoesNotDependOnTheNumberOfRows) {
  const Text text = text_of(counted());
  const Batch four = train_batch(text, 5, 4);
  const Batch two = train_batch(text, 5, 2);
  EXPECT_TRUE(std::equal(two.tokens.begin(), two.tokens.end(), four.tokens.begin()));
  const Batch last = train_batch(text, 5, 2, 2);
  EXPECT_TRUE(std::equal(last.tokens.rbegin(), last.tokens.rend(), four.tokens.rbegin()));
  EXPECT_TRUE(std::equal(last.targets.rbegin(), last.targets.rend(), four.targets.rbegin()));
}

TEST_F(TextTest, BatchesAreTheSameOnEveryMachine) {
  const Batch batch = train_batch(text_of(counted()), 5, 1);
  EXPECT_EQ(std::string(batch.tokens.begin(), batch.tokens.end()), "118911901");
}

TEST_F(TextTest, RowsAndStepsDiffer) {
  const Text text = text_of(counted());
  std::set<std::vector<std::int64_t>> windows;
  for (std::int64_t step = 0; step < 10; ++step) {
    const Batch batch = train_batch(text, step);
    for (std::ptrdiff_t row = 0; row < 4; ++row) {
      windows.emplace(batch.tokens.begin() + row * kContext,
                      batch.tokens.begin() + (row + 1) * kContext);
    }
  }
  EXPECT_GT(windows.size(), 34u);
}

TEST_F(TextTest, GateSequencesComeInASeededOrder) {
  const auto order = [&](std::int64_t seed) {
    const Text text = text_of(counted(), seed);
    std::vector<std::vector<std::int64_t>> sequences;
    for (std::int64_t i = 0; i < text.gate_size(); ++i) {
      Batch batch(1);
      text.gate_sequence(i, batch.tokens.data(), batch.targets.data());
      sequences.push_back(batch.tokens);
    }
    return sequences;
  };
  EXPECT_EQ(order(0), order(0));
  EXPECT_NE(order(0), order(1));
  EXPECT_THAT(order(0), ::testing::UnorderedElementsAreArray(order(1)));
  const auto first = order(0);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
}

TEST_F(TextTest, TheSummaryTellsSplitsApart) {
  const TextSummary one = text_of(marked()).summary();
  EXPECT_EQ(one.files, 1);
  EXPECT_EQ(one.train.tokens, 800);
  EXPECT_EQ(one.gate.tokens, 100);
  EXPECT_EQ(one.validation.tokens, 100);
  std::string content = marked();
  content[850] = 'x';
  const TextSummary other = text_of(content).summary();
  EXPECT_EQ(other.train.hash, one.train.hash);
  EXPECT_NE(other.gate.hash, one.gate.hash);
  EXPECT_EQ(other.validation.hash, one.validation.hash);
}

TEST_F(TextTest, SplitHashesAreFnv1a) {
  const TextSummary summary = text_of(std::string(1000, 'a')).summary();
  std::uint64_t hash = 14695981039346656037u;
  for (int i = 0; i < 100; ++i) hash = (hash ^ 'a') * 1099511628211u;
  EXPECT_EQ(summary.gate.hash, hash);
  EXPECT_EQ(summary.validation.hash, hash);
}

TEST_F(TextTest, TooLittleTextIsRefusedWithTheNumbersAndWhatToChange) {
  EXPECT_NO_THROW(text_of(std::string(100, 'a')));
  EXPECT_THAT([&] { text_of(std::string(99, 'a')); },
              ThrowsMessage<DataError>(
                  path("text") +
                  " gives 9 of its 99 bytes to gate, split by ranges: it is one file; expected at "
                  "least 1 sequence of 10; more data, a smaller batch.context or a larger "
                  "data.gate_share would do"));
}

TEST_F(TextTest, EachSplitIsRefusedWithItsOwnRemedy) {
  DataOptions options;
  options.path = write("text", std::string(199, 'a'));
  options.gate_share = 0.1;
  EXPECT_THAT([&] { Text(options, kVocabulary, kContext, 4); },
              ThrowsMessage<DataError>(AllOf(HasSubstr("9 of its 199 bytes to validation"),
                                             HasSubstr("larger data.validation_share"))));
  write("text", std::string(1200, 'a'));
  EXPECT_NO_THROW(Text(options, kVocabulary, kContext, 102));
  EXPECT_THAT([&] { Text(options, kVocabulary, kContext, 103); },
              ThrowsMessage<DataError>(
                  AllOf(HasSubstr("1020 of its 1200 bytes to train"),
                        HasSubstr("at least 103 sequences of 10; more data, "),
                        HasSubstr("or a smaller batch.sequences or batch.accumulate"))));
}

TEST_F(TextTest, MaxBytesIsNamedWhereItIsWhatCutsTheText) {
  DataOptions options;
  options.path = write("text", std::string(1000, 'a'));
  options.max_bytes = 100;
  EXPECT_THAT([&] { Text(options, kVocabulary, kContext, 4); },
              ThrowsMessage<DataError>(HasSubstr("more data (data.max_bytes), a smaller")));
}

TEST_F(TextTest, ATextOfBytesSaysSo) {
  const Text text = text_of(marked());
  EXPECT_TRUE(text.is_bytes());
  EXPECT_EQ(text.prompt(), '\n');
  EXPECT_EQ(text.summary().unit, "bytes");
  EXPECT_EQ(text.summary().description, "split by ranges: it is one file");
}

TEST_F(TextTest, EverySizeThatIsAcceptedHoldsWhatWasPromised) {
  for (std::size_t bytes = 100; bytes < 400; ++bytes) {
    const Text text = text_of(std::string(bytes, 'a'));
    const TextSummary& summary = text.summary();
    EXPECT_GE(text.gate_size(), 1) << bytes;
    EXPECT_GE(text.validation_size(), 1) << bytes;
    EXPECT_GE(summary.train.tokens, 40) << bytes;
    EXPECT_EQ(summary.train.tokens + summary.gate.tokens + summary.validation.tokens,
              static_cast<std::int64_t>(bytes));
  }
}

TEST_F(TextTest, AnIndexOutsideASplitIsRefused) {
  const Text text = text_of(marked());
  Batch batch(1);
  EXPECT_THAT([&] { text.gate_sequence(10, batch.tokens.data(), batch.targets.data()); },
              ThrowsMessage<ContractError>(HasSubstr("gate sequence 10 of 10")));
  EXPECT_THAT([&] { text.validation_sequence(-1, batch.tokens.data(), batch.targets.data()); },
              ThrowsMessage<ContractError>(HasSubstr("validation sequence -1 of 10")));
}

}  // namespace
}  // namespace leapverify::data

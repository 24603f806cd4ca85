#include <gmock/gmock.h>
#include <leapverify/integrations/data/token_file.h>
#include <leapverify/integrations/data/token_run.h>
#include <leapverify/runtime/durable_files.h>

#include "integrations/data/token_files.h"
#include "integrations/temporary_folder.h"

namespace leapverify::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::llmc16;
using testing::llmc32;
using testing::llmc_header;
using testing::packed;
using ::testing::ThrowsMessage;

class TokenFileTest : public leapverify::testing::TemporaryFolder {
 protected:
  std::vector<std::int64_t> tokens_of(const std::string& bytes, DataFormat format) const {
    const TokenFile file(write("a.bin", bytes), format);
    TokenRun run;
    run.append(file.data(), file.size(), file.width());
    std::vector<std::int64_t> tokens(static_cast<std::size_t>(file.size()));
    run.read(0, run.size(), tokens.data());
    return tokens;
  }

  void expect_refused(const std::string& bytes, DataFormat format,
                      const std::string& message) const {
    const std::string file = write("a.bin", bytes);
    EXPECT_THAT([&] { TokenFile(file, format); }, ThrowsMessage<DataError>(file + " " + message));
  }
};

TEST_F(TokenFileTest, LlmcFilesHoldTokensOf16And32Bits) {
  EXPECT_THAT(tokens_of(llmc16({0, 7, 65535}), DataFormat::kLlmc), ElementsAre(0, 7, 65535));
  EXPECT_THAT(tokens_of(llmc32({0, 7, 128255}), DataFormat::kLlmc), ElementsAre(0, 7, 128255));
}

TEST_F(TokenFileTest, NanoGptFilesHoldNothingButTokens) {
  EXPECT_THAT(tokens_of(packed<std::uint16_t>({50256, 0, 40000}), DataFormat::kNanoGpt),
              ElementsAre(50256, 0, 40000));
}

TEST_F(TokenFileTest, OtherMagicNumbersAreRefused) {
  const std::string legal =
      "; expected an llm.c token file, which begins with 20240520 or 20240801, or data.format: "
      "nanogpt for tokens without a header";
  expect_refused(llmc_header(20240522, 1, 0), DataFormat::kLlmc, "begins with 20240522" + legal);
}

TEST_F(TokenFileTest, OtherVersionsAreRefused) {
  expect_refused(llmc_header(20240520, 7, 0), DataFormat::kLlmc,
                 "has version 7; expected version 1 of llm.c's token files");
  expect_refused(llmc_header(20240801, 1, 0), DataFormat::kLlmc,
                 "has version 1; expected version 7 of llm.c's token files");
}

TEST_F(TokenFileTest, ASizeOtherThanTheHeadersIsRefused) {
  const std::string legal =
      "; expected 1024 of its header and 2 for each of the 3 tokens that it declares";
  const std::string whole = llmc16({1, 2, 3});
  expect_refused(whole.substr(0, 1029), DataFormat::kLlmc, "has 1029 bytes" + legal);
  expect_refused(whole + "x", DataFormat::kLlmc, "has 1031 bytes" + legal);
  expect_refused(llmc_header(20240520, 1, -5), DataFormat::kLlmc,
                 "has 1024 bytes; expected 1024 of its header and 2 for each of the -5 tokens "
                 "that it declares");
  expect_refused(whole.substr(0, 100), DataFormat::kLlmc,
                 "has 100 bytes; expected at least the 1024 of the header that an llm.c token "
                 "file has");
}

TEST_F(TokenFileTest, AnOddNumberOfBytesIsRefused) {
  expect_refused("abc", DataFormat::kNanoGpt,
                 "has 3 bytes, an odd number; expected tokens of 16 bits (data.format: nanogpt)");
}

TEST_F(TokenFileTest, AFileOfLlmcIsNotReadAsTokensAlone) {
  for (const std::string& file : {llmc16({1, 2}), llmc32({1, 2}), llmc16({1, 2}) + "x"}) {
    expect_refused(file, DataFormat::kNanoGpt,
                   "begins with the header of an llm.c token file; expected data.format: llmc, or "
                   "tokens without a header");
  }
}

TEST_F(TokenFileTest, FilesWithoutTokensAreRefused) {
  expect_refused(llmc16({}), DataFormat::kLlmc, "holds no tokens; expected at least one");
  expect_refused("", DataFormat::kNanoGpt, "holds no tokens; expected at least one");
}

TEST_F(TokenFileTest, AFileThatCannotBeReadIsRefused) {
  EXPECT_THAT([&] { TokenFile(path("none.bin"), DataFormat::kLlmc); },
              ThrowsMessage<FileError>(HasSubstr("none.bin: cannot open: No such file")));
}

TEST_F(TokenFileTest, LlmcFilesAreKnownByTheirMagicNumbers) {
  EXPECT_TRUE(begins_as_llmc(write("a", llmc16({1}))));
  EXPECT_TRUE(begins_as_llmc(write("b", llmc32({1}))));
  EXPECT_FALSE(begins_as_llmc(write("c", packed<std::uint16_t>({1, 2, 3}))));
  EXPECT_FALSE(begins_as_llmc(write("d", "x")));
  EXPECT_FALSE(begins_as_llmc(path("none")));
}

TEST(TokenRun, ReadsAcrossPiecesOfEveryWidth) {
  const std::string narrow = "\x01\x02\xff";
  const std::string middle = packed<std::uint16_t>({300, 65535});
  const std::string wide = "-" + packed<std::uint32_t>({70000, 4000000000});
  TokenRun run;
  run.append(narrow.data(), 3, 1);
  run.append(nullptr, 0, 2);
  run.append(middle.data(), 2, 2);
  run.append(wide.data() + 1, 2, 4);  // at an odd address
  const std::vector<std::int64_t> all = {1, 2, 255, 300, 65535, 70000, 4000000000};
  ASSERT_EQ(run.size(), 7);
  for (std::int64_t begin = 0; begin < 7; ++begin) {
    for (std::int64_t count = 0; begin + count <= 7; ++count) {
      std::vector<std::int64_t> part(static_cast<std::size_t>(count));
      run.read(begin, count, part.data());
      EXPECT_EQ(part, std::vector<std::int64_t>(all.begin() + begin, all.begin() + begin + count));
    }
  }
}

}  // namespace
}  // namespace leapverify::data

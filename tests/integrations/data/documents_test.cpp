#include <gmock/gmock.h>
#include <leapverify/integrations/data/documents.h>

#include <algorithm>

#include "integrations/temporary_folder.h"

namespace leapverify::data {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::ThrowsMessage;
using ::testing::UnorderedElementsAre;

class DocumentsTest : public testing::TemporaryFolder {
 protected:
  DataOptions options_for(const std::string& relative) const {
    DataOptions options;
    options.path = path(relative);
    return options;
  }

  /// The documents that were read, each one a line of the concatenation.
  static std::vector<std::string> lines(const Documents& documents) {
    std::vector<std::string> result(1);
    for (const std::uint8_t byte : documents.bytes) {
      if (byte == '\n') {
        result.emplace_back();
      } else {
        result.back() += static_cast<char>(byte);
      }
    }
    result.pop_back();
    return result;
  }
};

TEST_F(DocumentsTest, AFileIsReadWhateverItsName) {
  write(".hidden.bin", "text\n");
  DataOptions options = options_for(".hidden.bin");
  options.extensions = {".py"};
  const Documents documents = load_documents(options);
  EXPECT_THAT(lines(documents), ElementsAre("text"));
  EXPECT_EQ(documents.files, 1);
}

TEST_F(DocumentsTest, AFolderIsReadRecursively) {
  write("d/a.txt", "a\n");
  write("d/x/b.txt", "b\n");
  write("d/x/y/c", "c\n");
  const Documents documents = load_documents(options_for("d"));
  EXPECT_THAT(lines(documents), UnorderedElementsAre("a", "b", "c"));
  EXPECT_EQ(documents.files, 3);
}

TEST_F(DocumentsTest, HiddenAndExcludedNamesArePassedBy) {
  write("d/a.py", "a\n");
  write("d/.b.py", "b\n");
  write("d/.git/c.py", "c\n");
  write("d/x/site-packages/d.py", "d\n");
  write("d/build/e.py", "e\n");
  DataOptions options = options_for("d");
  EXPECT_THAT(lines(load_documents(options)), UnorderedElementsAre("a", "e"));
  options.exclude = {"build"};
  EXPECT_THAT(lines(load_documents(options)), UnorderedElementsAre("a", "d"));
}

TEST_F(DocumentsTest, TheGivenFolderMayItselfBeHiddenOrExcluded) {
  write(".venv/site-packages/a.py", "a\n");
  EXPECT_THAT(lines(load_documents(options_for(".venv/site-packages/"))), ElementsAre("a"));
}

TEST_F(DocumentsTest, OnlyTheGivenExtensionsAreRead) {
  write("d/a.py", "a\n");
  write("d/b.pyc", "b\n");
  write("d/c.md", "c\n");
  write("d/py", "d\n");
  DataOptions options = options_for("d");
  options.extensions = {".py", ".md"};
  EXPECT_THAT(lines(load_documents(options)), UnorderedElementsAre("a", "c"));
}

TEST_F(DocumentsTest, BinaryAndUnreadableFilesAreCounted) {
  write("d/a.txt", "a\n");
  write("d/nul", std::string("x\0y", 3));
  write("d/latin1", "caf\xe9\n");
  fs::create_symlink("nowhere", path("d/dangling"));
  fs::create_symlink("self", path("d/self"));
  const Documents documents = load_documents(options_for("d"));
  EXPECT_THAT(lines(documents), ElementsAre("a"));
  EXPECT_EQ(documents.files, 1);
  EXPECT_EQ(documents.binary_files, 2);
  EXPECT_EQ(documents.unreadable, 2);
}

TEST_F(DocumentsTest, LinksNeitherLoopNorRepeatAFile) {
  write("d/a.txt", "a\n");
  write("elsewhere/b.txt", "b\n");
  write("above.txt", "above\n");
  fs::create_directory_symlink("..", path("d/up"));
  fs::create_symlink("a.txt", path("d/again.txt"));
  fs::create_symlink("../elsewhere/b.txt", path("d/b.txt"));
  const Documents documents = load_documents(options_for("d"));
  EXPECT_THAT(lines(documents), UnorderedElementsAre("a", "b"));
  EXPECT_EQ(documents.files, 2);
}

TEST_F(DocumentsTest, TheOrderFollowsFromNamesAndSeedAlone) {
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) names.push_back("f" + std::to_string(i));
  for (const std::string& name : names) write("d/" + name, name + "\n");
  std::reverse(names.begin(), names.end());
  for (const std::string& name : names) write("e/" + name, name + "\n");

  DataOptions other_seed = options_for("d");
  other_seed.seed = 1;
  const auto first = lines(load_documents(options_for("d")));
  EXPECT_EQ(first, lines(load_documents(options_for("e"))));
  EXPECT_EQ(first, lines(load_documents(options_for("d/"))));
  EXPECT_NE(first, lines(load_documents(other_seed)));
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
}

TEST_F(DocumentsTest, TheOrderIsTheSameOnEveryMachine) {
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    write(std::string("d/x/") + name, std::string(name) + "\n");
  }
  EXPECT_THAT(lines(load_documents(options_for("d"))), ElementsAre("b", "a", "c", "d", "e"));
}

TEST_F(DocumentsTest, EachDocumentsStartIsTold) {
  write("d/a", "12345\n");
  write("d/b", "678\n");
  write("d/empty", "");
  const Documents documents = load_documents(options_for("d"));
  const std::int64_t second = documents.bytes.front() == '1' ? 6 : 4;
  EXPECT_THAT(documents.starts, ElementsAre(0, second));
  EXPECT_THAT(load_documents(options_for("d/a")).starts, ElementsAre(0));
}

TEST_F(DocumentsTest, ReadingStopsAtMaxBytes) {
  for (int i = 0; i < 5; ++i) write("d/f" + std::to_string(i), "12345678\n");
  DataOptions options = options_for("d");
  options.max_bytes = 20;
  const Documents documents = load_documents(options);
  EXPECT_EQ(documents.bytes.size(), 20u);
  EXPECT_EQ(documents.files, 3);
  EXPECT_EQ(documents.files_left_out, 2);
}

TEST_F(DocumentsTest, ACharacterCutByMaxBytesIsDropped) {
  write("a.txt", "abc\xc3\xa9xyz");
  DataOptions options = options_for("a.txt");
  options.max_bytes = 4;
  EXPECT_EQ(load_documents(options).bytes.size(), 3u);
  options.max_bytes = 5;
  EXPECT_EQ(load_documents(options).bytes.size(), 5u);
}

TEST_F(DocumentsTest, ACharacterCutByTheEndOfTheFileIsRefused) {
  const std::string file = write("a.txt", "abc\xc3");
  EXPECT_THAT([&] { load_documents(options_for("a.txt")); },
              ThrowsMessage<DataError>(file + " is not text: invalid UTF-8 at offset 3; expected "
                                              "UTF-8 without NUL bytes (or data.format: llmc or "
                                              "nanogpt, for token files)"));
}

TEST_F(DocumentsTest, APathThatDoesNotExistIsRefused) {
  EXPECT_THAT([&] { load_documents(options_for("nowhere")); },
              ThrowsMessage<DataError>(path("nowhere") +
                                       " does not exist; expected a text file, a folder of text "
                                       "files, or token files"));
}

TEST_F(DocumentsTest, AnEmptyPathIsRefused) {
  EXPECT_THAT([&] { load_documents(DataOptions()); },
              ThrowsMessage<DataError>("data.path is not set; expected a text file, a folder of "
                                       "text files, or token files"));
}

TEST_F(DocumentsTest, ADeviceIsRefused) {
  DataOptions options;
  options.path = "/dev/null";
  EXPECT_THAT([&] { load_documents(options); },
              ThrowsMessage<DataError>("/dev/null is neither a file nor a folder; expected a text "
                                       "file, a folder of text files, or token files"));
}

TEST_F(DocumentsTest, AnEmptyFileIsRefused) {
  const std::string file = write("a.txt", "");
  EXPECT_THAT([&] { load_documents(options_for("a.txt")); },
              ThrowsMessage<DataError>(file + " is empty; expected a file with text"));
}

TEST_F(DocumentsTest, ABinaryFileIsRefused) {
  const std::string file = write("a.txt", std::string("text\0", 5));
  EXPECT_THAT([&] { load_documents(options_for("a.txt")); },
              ThrowsMessage<DataError>(file + " is not text: NUL byte at offset 4; expected UTF-8 "
                                              "without NUL bytes (or data.format: llmc or nanogpt, "
                                              "for token files)"));
}

TEST_F(DocumentsTest, AFolderWithoutTextIsRefused) {
  write("d/junk.py", std::string("\0", 1));
  write("d/empty.py", "");
  write("d/a.txt", "text");
  fs::create_symlink("nowhere", path("d/dangling.py"));
  DataOptions options = options_for("d");
  options.extensions = {".py", ".md"};
  EXPECT_THAT([&] { load_documents(options); },
              ThrowsMessage<DataError>(path("d") +
                                       " holds no text; expected at least one text file ending in "
                                       ".py or .md (passed by: 1 binary, 1 unreadable)"));
}

TEST_F(DocumentsTest, ErrorsHoldTheirParts) {
  try {
    load_documents(options_for("nowhere"));
    FAIL();
  } catch (const DataError& error) {
    EXPECT_EQ(error.path(), path("nowhere"));
    EXPECT_EQ(error.value(), "does not exist");
    EXPECT_EQ(error.legal(), "a text file, a folder of text files, or token files");
  }
}

TEST_F(DocumentsTest, IllegalOptionsAreRefused) {
  DataOptions options = options_for("");
  options.gate_share = 0.5;
  options.validation_share = 0.5;
  EXPECT_THAT([&] { load_documents(options); },
              ThrowsMessage<InvalidOption>(
                  "gate_share: 0.5 is not legal, expected at most 0.9 together with "
                  "validation_share = 0.5, the rest is for training"));
  options = options_for("");
  options.extensions = {".py", "md"};
  EXPECT_THAT([&] { load_documents(options); },
              ThrowsMessage<InvalidOption>(
                  "extensions: \"md\" is not legal, expected endings with a dot, as in .py"));
}

}  // namespace
}  // namespace leapverify::data

// A checkpoint of which any byte was changed, lost or added is refused with one clear line.
#include "runtime/checkpoint_run.h"

namespace leapverify {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// All files of a checkpoint at step 7, relative to checkpoints/.
const char* const kFiles[] = {"latest", "step-7/digests", "step-7/state.json",
                              "step-7/model.safetensors", "step-7/optimizer.safetensors"};

class CheckpointDamage : public CheckpointRun {
 protected:
  void SetUp() override {
    CheckpointRun::SetUp();
    save_checkpoint(run_, checkpoint_at(7), 1);
  }

  /// What load_checkpoint() says; empty when it accepts.
  std::string refusal() const {
    try {
      load_checkpoint(run_);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  void expect_refusal_naming(const std::string& file) const {
    const std::string message = refusal();
    ASSERT_THAT(message, HasSubstr(fs::path(file).filename().string()));
    ASSERT_TRUE(is_one_clear_line(message));
  }

  /// Writes a file of step-7, and the digests as if the checkpoint had been saved like that.
  void seal(const std::string& file, const std::string& bytes) const {
    const fs::path folder = checkpoints() / "step-7";
    write_synced(folder / file, bytes);
    std::string digests;
    for (const char* name : {"state.json", "model.safetensors", "optimizer.safetensors"}) {
      digests += digest_line(name, read_file(folder / name));
    }
    write_synced(folder / "digests", digests);
  }

  void expect_refusal_of(const std::string& file, const std::string& bytes,
                         const std::string& words) const {
    seal(file, bytes);
    EXPECT_THAT(refusal(),
                AllOf(HasSubstr(file), HasSubstr(words), Not(HasSubstr("json.exception"))));
    EXPECT_TRUE(is_one_clear_line(refusal()));
  }

  std::string state_with(const std::string& old_text, const std::string& new_text) const {
    std::string text = read_file(checkpoints() / "step-7" / "state.json");
    const std::size_t place = text.find(old_text);
    EXPECT_NE(place, std::string::npos) << old_text;
    return text.replace(place, old_text.size(), new_text);
  }
};

TEST_F(CheckpointDamage, EveryBitOfEveryFileCounts) {
  for (const char* file : kFiles) {
    const std::string bytes = read_file(checkpoints() / file);
    ASSERT_FALSE(bytes.empty());
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      SCOPED_TRACE(std::string(file) + " bit " + std::to_string(bit));
      std::string flipped = bytes;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      write_unsynced(checkpoints() / file, flipped);
      expect_refusal_naming(file);
    }
    write_unsynced(checkpoints() / file, bytes);
  }
  EXPECT_EQ(refusal(), "");
}

TEST_F(CheckpointDamage, EveryTruncationIsRefused) {
  for (const char* file : kFiles) {
    const std::string bytes = read_file(checkpoints() / file);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      SCOPED_TRACE(std::string(file) + " cut to " + std::to_string(size));
      fs::resize_file(checkpoints() / file, size);
      expect_refusal_naming(file);
      write_unsynced(checkpoints() / file, bytes);
    }
  }
}

TEST_F(CheckpointDamage, BytesTooManyAreRefused) {
  for (const char* file : kFiles) {
    const std::string bytes = read_file(checkpoints() / file);
    for (const std::string& more : {std::string("\n"), std::string(1, '\0'), bytes}) {
      SCOPED_TRACE(file);
      write_unsynced(checkpoints() / file, bytes + more);
      expect_refusal_naming(file);
    }
    write_unsynced(checkpoints() / file, bytes);
  }
}

TEST_F(CheckpointDamage, AMissingFileIsRefused) {
  for (const char* file : {"step-7/digests", "step-7/state.json", "step-7/model.safetensors",
                           "step-7/optimizer.safetensors"}) {
    const std::string bytes = read_file(checkpoints() / file);
    fs::remove(checkpoints() / file);
    expect_refusal_naming(file);
    EXPECT_THAT(refusal(), HasSubstr("cannot open: No such file"));
    write_unsynced(checkpoints() / file, bytes);
  }
}

TEST_F(CheckpointDamage, AFolderInPlaceOfAFileIsRefused) {
  fs::remove(checkpoints() / "step-7" / "model.safetensors");
  fs::create_directory(checkpoints() / "step-7" / "model.safetensors");
  EXPECT_THAT(refusal(), HasSubstr("model.safetensors: cannot read: Is a directory"));
}

TEST_F(CheckpointDamage, TheFilesOfAnotherCheckpointAreRefused) {
  const std::string model = read_file(checkpoints() / "step-7" / "model.safetensors");
  save_checkpoint(run_, checkpoint_at(8), 1);
  write_unsynced(checkpoints() / "step-8" / "model.safetensors", model);
  expect_refusal_naming("model.safetensors");
}

TEST_F(CheckpointDamage, TheOthersThatAreCompleteAreKnown) {
  for (const std::int64_t step : {8, 9, 10}) save_checkpoint(run_, checkpoint_at(step), 4);
  EXPECT_THAT(complete_checkpoints(run_), ElementsAre(7, 8, 9, 10));
  write_unsynced(checkpoints() / "step-8" / "state.json", "{}");
  fs::remove(checkpoints() / "step-10" / "model.safetensors");
  fs::rename(checkpoints() / "step-9", checkpoints() / "step-9.tmp");
  EXPECT_THAT(complete_checkpoints(run_), ElementsAre(7));
  EXPECT_THAT(complete_checkpoints(run_ / "none"), ElementsAre());
}

TEST_F(CheckpointDamage, AMissingPointerIsToldFromNoCheckpoint) {
  fs::remove(checkpoints() / "latest");
  EXPECT_EQ(refusal(), (checkpoints() / "latest").string() +
                           ": missing, so which checkpoint is the latest is not known");
  fs::remove_all(checkpoints() / "step-7");
  EXPECT_EQ(refusal(), run_.string() + ": no complete checkpoint to resume from");
}

TEST_F(CheckpointDamage, APointerWrittenByHandIsSaidPlainly) {
  write_unsynced(checkpoints() / "latest", "step-7\n");
  EXPECT_EQ(refusal(), (checkpoints() / "latest").string() +
                           ": edited, damaged, or of another format than " +
                           std::to_string(kCheckpointFormat) + ": 'step-7'");
}

TEST_F(CheckpointDamage, AMissingFolderIsCalledByItsOwnName) {
  fs::remove_all(checkpoints() / "step-7");
  save_checkpoint(run_, checkpoint_at(6), 1);
  make_latest(run_, 7);
  EXPECT_EQ(refusal(), (checkpoints() / "step-7").string() + ": missing, though 'latest' names it");
}

TEST_F(CheckpointDamage, AStateThatIsNoJsonAnyMoreIsCalledDamaged) {
  write_unsynced(checkpoints() / "step-7" / "state.json", "{nonsense");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("state.json: damaged: "), Not(HasSubstr("JSON"))));
}

TEST_F(CheckpointDamage, AFolderUnderAnotherNameIsRefused) {
  fs::rename(checkpoints() / "step-7", checkpoints() / "step-9");
  write_unsynced(checkpoints() / "latest", digest_line("step-9", "step-9"));
  EXPECT_THAT(refusal(), HasSubstr("step-9/state.json: of step 7"));
}

TEST_F(CheckpointDamage, OtherFormatsAreRefusedByNumber) {
  const std::string known = ", this program reads " + std::to_string(kCheckpointFormat);
  const std::string next = std::to_string(kCheckpointFormat + 1);
  expect_refusal_of(
      "state.json",
      state_with("\"format\": " + std::to_string(kCheckpointFormat), "\"format\": " + next),
      "format " + next + known);
  expect_refusal_of("state.json", state_with("\"format\": " + next, "\"format\": 2"),
                    "format 2" + known);
  expect_refusal_of("state.json", state_with("\"format\": 2", "\"former\": 3"),
                    "format missing" + known);
}

TEST_F(CheckpointDamage, StateThatIsNotWhatItShouldBeIsRefused) {
  const std::string good = read_file(checkpoints() / "step-7" / "state.json");
  expect_refusal_of("state.json", "{nonsense", "not JSON");
  expect_refusal_of("state.json", "[3]", "not a JSON object");
  expect_refusal_of("state.json", "{\"format\": 4, \"format\": 4}", "'format' is given twice");
  expect_refusal_of("state.json", std::string(100'000, '['), "nested deeper than 64");
  seal("state.json", good);
  expect_refusal_of("state.json", state_with("\"step\"", "\"stop\""), "'step' not found");
  seal("state.json", good);
  expect_refusal_of("state.json", state_with("\"step\": 7", "\"step\": 7.5"), "of step 7.5");
  seal("state.json", good);
  expect_refusal_of("state.json", state_with("\"model\"", "7"), "type must be string");
}

// The reader's own table of refusals is in safetensors_test.cpp; here, that it is asked and names
// the file.
TEST_F(CheckpointDamage, MalformedTensorsUnderAGoodDigestAreRefused) {
  expect_refusal_of("model.safetensors", "", "shorter than a safetensors header");
  expect_refusal_of("model.safetensors", safetensors_file("{}", 1), "1 bytes belong to no tensor");
  expect_refusal_of("model.safetensors", std::string(8, '\x7f') + "{}", "header of");
}

}  // namespace
}  // namespace leapverify

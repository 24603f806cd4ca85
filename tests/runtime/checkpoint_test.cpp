// A checkpoint that is interrupted anywhere leaves the one before it intact.
#include <gmock/gmock.h>
#include <leapverify/runtime/checkpoint.h>
#include <leapverify/runtime/durable_files.h>
#include <unistd.h>

#include "runtime/tensor_matchers.h"

namespace leapverify {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "leapverify-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    run_ = pattern;
  }
  void TearDown() override {
    set_file_fault_hook(nullptr);
    fs::remove_all(run_);
  }

  static Checkpoint checkpoint_at(std::int64_t step) {
    Checkpoint checkpoint;
    checkpoint.step = step;
    checkpoint.tensors["model"] = {{"weight", at::full({4}, static_cast<double>(step))}};
    checkpoint.tensors["optimizer"] = {};
    checkpoint.json["trainer"] = "{\"loss\":0.1}";
    return checkpoint;
  }

  std::vector<std::string> folders() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(run_ / "checkpoints")) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  template <class Change>
  void expect_refusal_after(Change change, const char* words) {
    save_checkpoint(run_, checkpoint_at(7), 2);
    change(run_ / "checkpoints" / "step-7");
    try {
      load_checkpoint(run_);
      FAIL() << "accepted: " << words;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  }

  fs::path run_;
};

TEST_F(CheckpointTest, ComesBackAsSaved) {
  save_checkpoint(run_, checkpoint_at(7), 2);
  const Checkpoint back = load_checkpoint(run_);
  EXPECT_EQ(back.step, 7);
  EXPECT_TRUE(bitwise_equal(back.tensors.at("model")[0].second, at::full({4}, 7.0)));
  EXPECT_TRUE(back.tensors.at("optimizer").empty());
  EXPECT_EQ(back.json.at("trainer"), "{\"loss\":0.1}");
}

TEST_F(CheckpointTest, KeepsTheNewest) {
  for (const std::int64_t step : {5, 10, 15, 100}) save_checkpoint(run_, checkpoint_at(step), 2);
  EXPECT_THAT(folders(), testing::ElementsAre("latest", "step-100", "step-15"));
}

TEST_F(CheckpointTest, DyingAtAnyWriteLosesNothing) {
  struct Death {};
  int operations = 0;
  set_file_fault_hook([&](const char*, const fs::path&) { ++operations; });
  save_checkpoint(run_, checkpoint_at(1), 2);
  ASSERT_GE(operations, 8);
  for (int fatal = 0; fatal < operations; ++fatal) {
    set_file_fault_hook(nullptr);
    fs::remove_all(run_ / "checkpoints");
    save_checkpoint(run_, checkpoint_at(1), 2);
    int done = 0;
    set_file_fault_hook([&](const char*, const fs::path&) {
      if (done++ == fatal) throw Death{};
    });
    EXPECT_THROW(save_checkpoint(run_, checkpoint_at(2), 2), Death);
    set_file_fault_hook(nullptr);
    const Checkpoint left = load_checkpoint(run_);
    EXPECT_TRUE(left.step == 1 || left.step == 2) << left.step;
    EXPECT_TRUE(bitwise_equal(left.tensors.at("model")[0].second,
                              at::full({4}, static_cast<double>(left.step))));
    // The next checkpoint succeeds and clears what was left lying about.
    save_checkpoint(run_, checkpoint_at(3), 1);
    EXPECT_THAT(folders(), testing::ElementsAre("latest", "step-3")) << "died at " << fatal;
  }
}

TEST_F(CheckpointTest, DyingWhileTheSameStepIsWrittenAgainLosesNothing) {
  struct Death {};
  int fatal = 0;
  for (bool died = true; died; ++fatal) {
    set_file_fault_hook(nullptr);
    fs::remove_all(run_ / "checkpoints");
    save_checkpoint(run_, checkpoint_at(5), 2);
    int done = 0;
    set_file_fault_hook([&](const char*, const fs::path&) {
      if (done++ == fatal) throw Death{};
    });
    died = false;
    try {
      save_checkpoint(run_, checkpoint_at(5), 2);
    } catch (const Death&) {
      died = true;
    }
    set_file_fault_hook(nullptr);
    EXPECT_EQ(load_checkpoint(run_).step, 5) << "died at " << fatal;
  }
  EXPECT_GE(fatal, 10);
}

TEST_F(CheckpointTest, NewCheckpointIsKeptWhenLaterOnesLieAbout) {
  save_checkpoint(run_, checkpoint_at(300), 1);
  save_checkpoint(run_, checkpoint_at(250), 1);
  EXPECT_THAT(folders(), testing::ElementsAre("latest", "step-250"));
  EXPECT_EQ(load_checkpoint(run_).step, 250);
}

TEST_F(CheckpointTest, NoCheckpointIsSaidPlainly) {
  try {
    load_checkpoint(run_);
    FAIL();
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), HasSubstr("no complete checkpoint"));
  }
}

TEST_F(CheckpointTest, RefusesTruncatedTensors) {
  expect_refusal_after([](const fs::path& f) { fs::resize_file(f / "model.safetensors", 40); },
                       "model.safetensors");
}

TEST_F(CheckpointTest, RefusesAMissingFile) {
  expect_refusal_after([](const fs::path& f) { fs::remove(f / "optimizer.safetensors"); },
                       "optimizer.safetensors: cannot open");
}

TEST_F(CheckpointTest, RefusesBrokenJson) {
  expect_refusal_after([](const fs::path& f) { fs::resize_file(f / "state.json", 10); },
                       "state.json");
}

TEST_F(CheckpointTest, RefusesANewerFormat) {
  expect_refusal_after(
      [](const fs::path& f) {
        std::string text = read_file(f / "state.json");
        text.replace(text.find("\"format\": 2"), 11, "\"format\": 9");
        write_synced(f / "state.json", text);
      },
      "format 9, this program reads 2");
}

TEST_F(CheckpointTest, UnwritableRunFolderIsSaidPlainly) {
  write_synced(run_ / "file", "");
  try {
    save_checkpoint(run_ / "file", checkpoint_at(1), 1);
    FAIL();
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), HasSubstr("cannot create"));
  }
}

}  // namespace
}  // namespace leapverify

// A checkpoint comes back as it was saved, and the newest are kept.
#include "runtime/checkpoint_run.h"

namespace leapverify {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

using CheckpointTest = CheckpointRun;

TEST_F(CheckpointTest, ComesBackAsSaved) {
  save_checkpoint(run_, checkpoint_at(7), 2);
  EXPECT_TRUE(same(load_checkpoint(run_), checkpoint_at(7)));
  EXPECT_THAT(names_in(checkpoints() / "step-7"),
              ElementsAre("digests", "model.safetensors", "optimizer.safetensors", "state.json"));
}

TEST_F(CheckpointTest, MayHoldNothingButItsStep) {
  Checkpoint bare;
  bare.step = 1;
  save_checkpoint(run_, bare, 1);
  EXPECT_TRUE(same(load_checkpoint(run_), bare));
}

TEST_F(CheckpointTest, KeepsTheNewest) {
  for (const std::int64_t step : {5, 10, 15, 100}) save_checkpoint(run_, checkpoint_at(step), 2);
  EXPECT_THAT(names_in(checkpoints()), ElementsAre("latest", "step-100", "step-15"));
}

TEST_F(CheckpointTest, KeepsOneMoreOnRequest) {
  for (const std::int64_t step : {1, 2, 3, 4}) save_checkpoint(run_, checkpoint_at(step), 1, 2);
  EXPECT_THAT(names_in(checkpoints()), ElementsAre("latest", "step-2", "step-4"));
  save_checkpoint(run_, checkpoint_at(5), 1, 5);
  EXPECT_THAT(names_in(checkpoints()), ElementsAre("latest", "step-5"));
}

TEST_F(CheckpointTest, NewCheckpointIsKeptWhenLaterOnesLieAbout) {
  save_checkpoint(run_, checkpoint_at(300), 1);
  save_checkpoint(run_, checkpoint_at(250), 1);
  EXPECT_THAT(names_in(checkpoints()), ElementsAre("latest", "step-250"));
  EXPECT_TRUE(same(load_checkpoint(run_), checkpoint_at(250)));
}

TEST_F(CheckpointTest, NoCheckpointIsSaidPlainly) {
  EXPECT_THAT([&] { load_checkpoint(run_); },
              ThrowsMessage<FileError>(HasSubstr("no complete checkpoint")));
}

TEST_F(CheckpointTest, OneOfAnEarlierStepCanBeChosen) {
  for (const std::int64_t step : {5, 10}) save_checkpoint(run_, checkpoint_at(step), 2);
  EXPECT_TRUE(same(load_checkpoint(run_, 5), checkpoint_at(5)));
  EXPECT_TRUE(same(load_checkpoint(run_), checkpoint_at(10))) << "loading changes nothing";
  EXPECT_THAT([&] { load_checkpoint(run_, 7); },
              ThrowsMessage<FileError>(run_.string() + ": no checkpoint of step 7"));
}

TEST_F(CheckpointTest, OneMadeTheLatestIsGoneOnFrom) {
  for (const std::int64_t step : {5, 10}) save_checkpoint(run_, checkpoint_at(step), 2);
  make_latest(run_, 5);
  EXPECT_TRUE(same(load_checkpoint(run_), checkpoint_at(5)));
  save_checkpoint(run_, checkpoint_at(7), 2);
  EXPECT_THAT(names_in(checkpoints()), ElementsAre("latest", "step-5", "step-7"));
}

TEST_F(CheckpointTest, OneSetAsideIsFoundByItsStep) {
  save_checkpoint(run_, checkpoint_at(5), 2);
  std::filesystem::rename(checkpoints() / "step-5", checkpoints() / "step-5.old");
  EXPECT_TRUE(same(load_checkpoint(run_, 5), checkpoint_at(5)));
  EXPECT_THAT(complete_checkpoints(run_), ElementsAre(5));
}

TEST_F(CheckpointTest, UnwritableRunFolderIsSaidPlainly) {
  write_synced(run_ / "file", "");
  EXPECT_THAT([&] { save_checkpoint(run_ / "file", checkpoint_at(1), 1); },
              ThrowsMessage<FileError>(HasSubstr("file/checkpoints: cannot create: Not a dir")));
}

TEST_F(CheckpointTest, DigestsAreThoseOfTheDocumentedFormula) {
  // Formula of kernels/checksum.h, over one segment of 9 bytes: two words.
  const auto mix = [](std::uint64_t word) {
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
  };
  const std::uint64_t gamma = 0x9e3779b97f4a7c15u;
  const std::uint64_t bytes = 4;  // kBytes
  const std::uint64_t digest =
      mix(mix(gamma ^ 9) + bytes) + mix(0x6867666564636261u ^ gamma) + mix(0x69u ^ (2 * gamma));
  char digits[17];
  std::snprintf(digits, sizeof(digits), "%016lx", digest);
  EXPECT_EQ(digest_line("name", "abcdefghi"), std::string(digits) + " name\n");
}

}  // namespace
}  // namespace leapverify

// A process that dies, or a disk that fails, at any single operation of a save leaves the old or
// the new checkpoint complete, and the next save works.
#include <sys/wait.h>

#include <cerrno>
#include <fstream>
#include <functional>
#include <optional>
#include <set>

#include "runtime/checkpoint_run.h"

namespace leapverify {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kDied = 3;

enum class Place { kBefore, kHalfway };

/// Puts half of what is about to be written on the disk, as a process that is killed meanwhile or a
/// disk that fills up can leave it.
void write_half(const FileOperation& operation) {
  if (operation.name != std::string("write")) return;
  std::ofstream file(operation.path, std::ios::binary | std::ios::app);
  file << operation.bytes.substr(0, operation.bytes.size() / 2);
}

/// Runs `save` in a process of its own that is ended, without any clean-up, before or halfway
/// through its operation number `fatal`. True when it came to that, false when it finished first.
bool dies(const std::function<void()>& save, int fatal, Place place) {
  const pid_t child = ::fork();
  if (child == 0) {
    int done = 0;
    set_file_fault_hook([&](const FileOperation& operation) {
      if (done++ != fatal) return 0;
      if (place == Place::kHalfway) write_half(operation);
      ::_exit(kDied);
    });
    try {
      save();
    } catch (...) {
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_NE(WEXITSTATUS(status), 1) << "the save failed by itself";
  return WEXITSTATUS(status) == kDied;
}

class CheckpointFaults : public CheckpointRun {
 protected:
  /// Leaves these checkpoints, saved one after the other, in `run_`.
  void begin_with(const std::vector<Checkpoint>& saved) {
    const fs::path copy = run_ / "copy";
    if (!fs::exists(copy)) {
      for (const Checkpoint& checkpoint : saved) save_checkpoint(copy, checkpoint, 2);
      fs::create_directory(copy);
    }
    fs::remove_all(checkpoints());
    if (!saved.empty()) fs::copy(copy / "checkpoints", checkpoints(), fs::copy_options::recursive);
  }

  std::optional<Checkpoint> loaded() const {
    if (!fs::exists(checkpoints() / "latest")) return std::nullopt;
    return load_checkpoint(run_);
  }

  /// What is under a checkpoint's name has all files, whether it is the latest or not.
  void expect_complete_folders() {
    if (!fs::exists(checkpoints())) return;
    for (const std::string& name : names_in(checkpoints())) {
      if (name.rfind("step-", 0) == 0 && fs::path(name).extension().empty()) {
        EXPECT_EQ(names_in(checkpoints() / name).size(), 4u) << name;
      }
    }
  }

  /// Is the latest `next`, or still what it was?
  void expect_old_or_new(const std::optional<Checkpoint>& old, const Checkpoint& next) {
    expect_complete_folders();
    const std::optional<Checkpoint> now = loaded();
    if (now && same(*now, next)) return;
    ASSERT_EQ(now.has_value(), old.has_value());
    if (old) {
      EXPECT_TRUE(same(*now, *old));
    }
  }

  void expect_that_saving_works(const Checkpoint& checkpoint) {
    save_checkpoint(run_, checkpoint, 1);
    EXPECT_TRUE(same(load_checkpoint(run_), checkpoint));
    EXPECT_THAT(names_in(checkpoints()),
                ElementsAre("latest", "step-" + std::to_string(checkpoint.step)));
  }

  void expect_survival_of_any_death(const std::vector<Checkpoint>& before, const Checkpoint& next,
                                    int least_operations) {
    for (const Place place : {Place::kBefore, Place::kHalfway}) {
      int fatal = 0;
      for (bool died = true; died; ++fatal) {
        SCOPED_TRACE("died at operation " + std::to_string(fatal));
        begin_with(before);
        const std::optional<Checkpoint> old = loaded();
        died = dies([&] { save_checkpoint(run_, next, 1); }, fatal, place);
        expect_old_or_new(old, next);
        expect_that_saving_works(checkpoint_at(next.step, 2));
      }
      EXPECT_GE(fatal, least_operations);
    }
  }
};

TEST_F(CheckpointFaults, DyingInTheFirstSaveLeavesNothingOrAll) {
  expect_survival_of_any_death({}, checkpoint_at(1), 20);
}

TEST_F(CheckpointFaults, DyingInALaterSaveLosesNothing) {
  expect_survival_of_any_death({checkpoint_at(1), checkpoint_at(2)}, checkpoint_at(3), 30);
}

TEST_F(CheckpointFaults, DyingWhileTheSameStepIsSavedAgainLosesNothing) {
  expect_survival_of_any_death({checkpoint_at(4), checkpoint_at(5)}, checkpoint_at(5, 1), 35);
}

TEST_F(CheckpointFaults, DyingInASaveBeforeLaterCheckpointsLosesNothing) {
  expect_survival_of_any_death({checkpoint_at(3), checkpoint_at(5)}, checkpoint_at(4, 1), 30);
}

TEST_F(CheckpointFaults, DyingTwiceLosesNothing) {
  const Checkpoint first = checkpoint_at(5, 1);
  const Checkpoint second = checkpoint_at(5, 2);
  bool first_died = true;
  for (int fatal = 0; first_died; ++fatal) {
    bool second_died = true;
    for (int again = 0; second_died; ++again) {
      SCOPED_TRACE("died at " + std::to_string(fatal) + ", then at " + std::to_string(again));
      begin_with({checkpoint_at(5)});
      first_died = dies([&] { save_checkpoint(run_, first, 1); }, fatal, Place::kBefore);
      const std::optional<Checkpoint> old = loaded();
      second_died = dies([&] { save_checkpoint(run_, second, 1); }, again, Place::kBefore);
      expect_old_or_new(old, second);
    }
    expect_that_saving_works(checkpoint_at(6));
  }
}

TEST_F(CheckpointFaults, AFailingOperationIsOneClearLineAndLosesNothing) {
  const Checkpoint old = checkpoint_at(1);
  const Checkpoint next = checkpoint_at(2);
  int failures = 0;
  bool reached = true;
  for (int failing = 0; reached; ++failing) {
    SCOPED_TRACE("operation " + std::to_string(failing));
    begin_with({old});
    int done = 0;
    set_file_fault_hook([&](const FileOperation& operation) {
      if (done++ != failing) return 0;
      write_half(operation);
      return ENOSPC;
    });
    try {
      save_checkpoint(run_, next, 1);
      // What could not be removed is no reason to fail.
      EXPECT_TRUE(same(load_checkpoint(run_), next));
    } catch (const FileError& error) {
      ++failures;
      EXPECT_TRUE(is_one_clear_line(error.what()));
      EXPECT_THAT(error.what(), HasSubstr(checkpoints().string()));
      EXPECT_THAT(error.what(), HasSubstr(": cannot "));
      EXPECT_THAT(error.what(), HasSubstr("No space left on device"));
      EXPECT_TRUE(fs::exists(checkpoints() / "step-1" / "model.safetensors"));
      expect_old_or_new(old, next);
    }
    reached = done > failing;
    set_file_fault_hook(nullptr);
    expect_that_saving_works(checkpoint_at(3));
  }
  EXPECT_GE(failures, 20);
}

TEST_F(CheckpointFaults, RoomTakenByAFailedSaveIsFreedBeforeTheNextIsWritten) {
  save_checkpoint(run_, checkpoint_at(1), 1);
  set_file_fault_hook([](const FileOperation& operation) {
    return operation.name == std::string("write") ? ENOSPC : 0;
  });
  EXPECT_THROW(save_checkpoint(run_, checkpoint_at(2), 1), FileError);
  bool written = false;
  set_file_fault_hook([&](const FileOperation& operation) {
    written = written || operation.name == std::string("write");
    EXPECT_FALSE(written && fs::exists(checkpoints() / "step-2.tmp"));
    return 0;
  });
  save_checkpoint(run_, checkpoint_at(3), 1);
  EXPECT_TRUE(written);
}

TEST_F(CheckpointFaults, NothingIsRenamedOrRemovedBeforeTheDiskHoldsWhatWasWritten) {
  save_checkpoint(run_, checkpoint_at(5), 1);
  std::set<fs::path> unsynced;
  bool pointed = false;
  set_file_fault_hook([&](const FileOperation& operation) {
    const std::string name = operation.name;
    if (name == "write") unsynced.insert(operation.path);
    if (name == "sync") unsynced.erase(operation.path);
    // Once `latest` is in place, the rest is tidying up: it may be lost.
    if (pointed && unsynced.empty()) return 0;
    if (name == "rename" || name == "remove") {
      EXPECT_THAT(unsynced, testing::IsEmpty()) << name << " " << operation.path;
    }
    if (name == "rename") unsynced.insert(operation.path.parent_path());
    pointed = pointed || operation.path.filename() == "latest";
    return 0;
  });
  save_checkpoint(run_, checkpoint_at(5, 1), 1);
  EXPECT_TRUE(pointed);
  EXPECT_THAT(unsynced, testing::IsEmpty());
}

}  // namespace
}  // namespace leapverify

// A run folder in a temporary place, and small checkpoints to save there.
#pragma once

#include <gmock/gmock.h>
#include <leapverify/runtime/checkpoint.h>
#include <leapverify/runtime/durable_files.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/refusals.h"
#include "runtime/tensor_matchers.h"

namespace leapverify {

class CheckpointRun : public testing::Test {
 protected:
  void SetUp() override {
    // In memory where possible: on a disk each of thousands of fsyncs takes milliseconds.
    const std::filesystem::path memory = "/dev/shm";
    const bool in_memory = ::access(memory.c_str(), W_OK) == 0;
    const auto parent = in_memory ? memory : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "leapverify-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    run_ = pattern;
  }
  void TearDown() override {
    set_file_fault_hook(nullptr);
    std::filesystem::remove_all(run_);
  }

  /// Two of one step differ by their marks.
  static Checkpoint checkpoint_at(std::int64_t step, double mark = 0) {
    Checkpoint checkpoint;
    checkpoint.step = step;
    checkpoint.tensors["model"] = {
        {"weight", at::arange(12).reshape({3, 4}).add(static_cast<double>(step)).to(at::kFloat)},
        {"bias", at::full({3}, mark, at::kDouble)}};
    checkpoint.tensors["optimizer"] = {};
    checkpoint.json["trainer"] = "{\"loss\":0.1}";
    return checkpoint;
  }

  static testing::AssertionResult same(const Checkpoint& a, const Checkpoint& b) {
    if (a.step != b.step) return testing::AssertionFailure() << a.step << " against " << b.step;
    if (a.json != b.json) return testing::AssertionFailure() << "other JSON";
    if (a.tensors.size() != b.tensors.size()) return testing::AssertionFailure() << "other parts";
    for (const auto& [name, tensors] : a.tensors) {
      if (b.tensors.count(name) == 0) return testing::AssertionFailure() << "no part " << name;
      const testing::AssertionResult equal = bitwise_equal(tensors, b.tensors.at(name));
      if (!equal) return testing::AssertionFailure() << name << ": " << equal.message();
    }
    return testing::AssertionSuccess();
  }

  std::vector<std::string> names_in(const std::filesystem::path& folder) const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  std::filesystem::path checkpoints() const { return run_ / "checkpoints"; }

  std::filesystem::path run_;
};

inline void write_unsynced(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
}

}  // namespace leapverify

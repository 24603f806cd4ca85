// What a few steps of a run spend their time on, by torch's profiler.
#pragma once

#include <filesystem>

namespace leapverify::trainer {

/// While it lives, the operations of this thread and of its backward passes are recorded, and on a GPU
/// its kernels. One at a time.
class StepProfile {
 public:
  StepProfile();
  ~StepProfile();
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;

  /// Ends the record and writes it as a Chrome trace, which chrome://tracing and Perfetto show, in the place
  /// of what is there. Once; throws Error where the file cannot be written.
  void write(const std::filesystem::path& file);

 private:
  bool recording_ = true;
};

}  // namespace leapverify::trainer

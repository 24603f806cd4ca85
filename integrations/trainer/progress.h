// What a person sees while a run goes on.
#pragma once

#include <leapverify/regimes/regime.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace leapverify::trainer {

struct ProgressState {
  std::int64_t step = 0;
  std::int64_t steps = 0;
  double loss = 0;
  double tokens_per_second = 0;
  double seconds_left = 0;
  bool leaps_on = false;
  Regime regime = Regime::kTransition;
  std::int64_t tried = 0;
  std::int64_t accepted = 0;
  double steps_saved = 0;
  /// Factor on the scheduled learning rate.
  double learning_rate_scale = 1;
  /// Where nothing is tried: the learning rate itself.
  std::optional<double> free_rate;
};

/// One line: a bar of `bar_width` characters and the numbers.
std::string progress_line(const ProgressState& state, int bar_width);

/// "1:05" or "2:03:04".
std::string duration_text(double seconds);

/// "950", "12.3k", "4.56M" or "1.50G".
std::string count_text(double count);

/// Redraws one line on a terminal, at most ten times a second; elsewhere prints a line for every
/// update that is asked to be kept.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar() { finish(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(const ProgressState& state, bool keep);

  /// Prints a line of its own above the bar.
  void note(const std::string& line);

  /// Leaves the last state of the bar on the screen.
  void finish();

 private:
  void clear_line();

  bool terminal_;
  bool drawn_ = false;
  std::string line_;
  std::chrono::steady_clock::time_point last_draw_;
};

}  // namespace leapverify::trainer

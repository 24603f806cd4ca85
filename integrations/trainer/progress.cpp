#include <leapverify/integrations/trainer/progress.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace leapverify::trainer {
namespace {

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[160];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

}  // namespace

std::string duration_text(double seconds) {
  const auto total = static_cast<long long>(std::llround(std::fmax(seconds, 0)));
  const long long hours = total / 3600;
  const long long minutes = total / 60 % 60;
  if (hours > 0) return format("%lld:%02lld:%02lld", hours, minutes, total % 60);
  return format("%lld:%02lld", minutes, total % 60);
}

std::string count_text(double count) {
  if (count < 1000) return format("%.0f", count);
  if (count < 1e6) return format("%.1fk", count / 1e3);
  if (count < 1e9) return format("%.2fM", count / 1e6);
  return format("%.2fG", count / 1e9);
}

std::string progress_line(const ProgressState& state, int bar_width) {
  const double share =
      state.steps > 0 ? static_cast<double>(state.step) / static_cast<double>(state.steps) : 0;
  const int filled = static_cast<int>(share * bar_width);
  std::string line = "[";
  for (int i = 0; i < bar_width; ++i) line += i < filled ? '=' : (i == filled ? '>' : ' ');
  line += format("] %lld/%lld  loss %.3f  %s tok/s  ETA %s", static_cast<long long>(state.step),
                 static_cast<long long>(state.steps), state.loss,
                 count_text(state.tokens_per_second).c_str(),
                 duration_text(state.seconds_left).c_str());
  if (state.free_rate) {
    line += format("  rate %.3g", *state.free_rate);
  } else if (state.leaps_on) {
    line += format("  %s  leaps %lld/%lld  saved %.1f", name_of(state.regime),
                   static_cast<long long>(state.accepted), static_cast<long long>(state.tried),
                   state.steps_saved);
    if (state.learning_rate_scale != 1) line += format("  rate x%.3g", state.learning_rate_scale);
  }
  return line;
}

ProgressBar::ProgressBar() : terminal_(isatty(STDOUT_FILENO) == 1) {}

void ProgressBar::clear_line() {
  if (drawn_) std::fputs("\r\x1b[K", stdout);
  drawn_ = false;
}

void ProgressBar::update(const ProgressState& state, bool keep) {
  if (!terminal_) {
    if (keep) std::printf("%s\n", progress_line(state, 20).c_str());
    std::fflush(stdout);
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && now - last_draw_ < std::chrono::milliseconds(100) && state.step < state.steps) {
    return;
  }
  clear_line();
  line_ = progress_line(state, 20);
  std::fputs(line_.c_str(), stdout);
  std::fflush(stdout);
  drawn_ = true;
  last_draw_ = now;
}

void ProgressBar::note(const std::string& line) {
  clear_line();
  std::printf("%s\n", line.c_str());
  if (terminal_ && !line_.empty()) {
    std::fputs(line_.c_str(), stdout);
    drawn_ = true;
  }
  std::fflush(stdout);
}

void ProgressBar::finish() {
  if (drawn_) std::fputs("\n", stdout);
  drawn_ = false;
  line_.clear();
  std::fflush(stdout);
}

}  // namespace leapverify::trainer

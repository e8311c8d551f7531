// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/ioctl.h>
#include <unistd.h>
#endif

#include <heed/core/shape.hpp>
#include <heed/io/utf8.hpp>

namespace program {

inline bool is_terminal(std::FILE* stream) {
#if defined(__unix__) || defined(__APPLE__)
  return isatty(fileno(stream)) != 0;
#else
  static_cast<void>(stream);
  return false;
#endif
}

/// Columns that a line of a terminal may take: all but the last, behind which many go on to the next row. Of 80 where it does not say.
inline std::size_t terminal_columns([[maybe_unused]] std::FILE* stream) {
#if defined(TIOCGWINSZ)
  if (winsize size{}; ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 1) return size.ws_col - 1u;
#endif
  return 79;
}

/// As much of the UTF-8 `text` as has at most so many characters.
inline std::string_view first_characters(std::string_view text, std::size_t characters) {
  std::size_t end = 0;
  while (end < text.size() && characters-- > 0) end += std::max<std::size_t>(1, heed::utf8_length(text.substr(end)));
  return text.substr(0, end);
}

/// A bar of which `part` of `whole` is full, and the text; the text alone if both do not fit into so many columns.
inline std::string bar_line(heed::Index part, heed::Index whole, std::string_view text, std::size_t columns) {
  constexpr heed::Index kWidth = 24;
  if (text.size() + kWidth + 1 > columns) return std::string(text);
  const heed::Index full = kWidth * part / std::max<heed::Index>(whole, 1);
  std::string line;
  for (heed::Index i = 0; i < kWidth; ++i) line += i < full ? "━" : "─";
  return fmt::format("{} {}", line, text);
}

/// Writes the line in the place of the one that the cursor of the terminal is in, as much of it as fits: of one that goes on in the next row the first would stay.
inline void redraw(std::FILE* terminal, std::string_view line) {
  fmt::print(terminal, "\r\033[K{}", first_characters(line, terminal_columns(terminal)));
  std::fflush(terminal);
}

/// "1:02:03", "2:03"
inline std::string clock_time(double seconds) {
  const long s = static_cast<long>(std::max(0.0, seconds) + 0.5);
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60) : fmt::format("{}:{:02}", s / 60, s % 60);
}

/// "1 thread", "2 threads"
inline std::string counted(heed::Index count, std::string_view what) { return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s"); }

/// What a training run is at, shown as it goes: one line that is redrawn on a terminal, a plain line every ten seconds elsewhere.
class Progress {
 public:
  /// `epochs` of `steps` steps each, over what is called `unit`. A single epoch has no number.
  Progress(heed::Index epochs, heed::Index steps, std::string unit, std::FILE* out = stdout)
      : epochs_(epochs), steps_(steps), unit_(std::move(unit)), out_(out), terminal_(is_terminal(out)) {}

  /// `steps` of it were made by an earlier run.
  void start_epoch(heed::Index epoch, heed::Index steps = 0) {
    epoch_ = epoch;
    step_ = first_ = steps;
    examples_ = correct_ = 0;
    loss_ = 0;
    start_ = shown_ = Clock::now();
  }
  void step(heed::Index examples, double loss, heed::Index correct) {
    ++step_;
    examples_ += examples;
    correct_ += correct;
    // The last steps count most: an average over some twenty of them.
    loss_ += (loss - loss_) * std::max(0.05, 1.0 / static_cast<double>(step_ - first_));
    const auto now = Clock::now();
    const double wait = terminal_ ? 0.1 : 10.0;
    if (std::chrono::duration<double>(now - shown_).count() < wait && !(terminal_ && step_ == steps_)) return;
    shown_ = now;
    show(std::chrono::duration<double>(now - start_).count());
  }
  /// Removes the bar, so that other lines can be printed.
  void clear() {
    if (terminal_) redraw(out_, "");
  }

 private:
  using Clock = std::chrono::steady_clock;

  void show(double seconds) {
    const double speed = static_cast<double>(examples_) / std::max(seconds, 1e-9);
    const double left =
        static_cast<double>((epochs_ - epoch_) * steps_ - step_) * seconds / static_cast<double>(std::max<heed::Index>(step_ - first_, 1));
    const double accuracy = 100.0 * static_cast<double>(correct_) / static_cast<double>(std::max<heed::Index>(examples_, 1));
    const std::string epoch = epochs_ > 1 ? fmt::format("epoch {}/{}  ", epoch_ + 1, epochs_) : "";
    const std::string text = fmt::format("{}{:>4}/{}  loss {:.3f}  accuracy {:5.2f} %  {:5.0f} {}/s  {} left", epoch, step_, steps_, loss_,
        accuracy, speed, unit_, clock_time(left));
    if (terminal_) return redraw(out_, bar_line(step_, steps_, text, terminal_columns(out_)));
    fmt::print(out_, "{}\n", text);
    std::fflush(out_);
  }

  heed::Index epochs_, steps_;
  std::string unit_;
  std::FILE* out_;
  bool terminal_;
  heed::Index epoch_ = 0, step_ = 0, first_ = 0, examples_ = 0, correct_ = 0;
  double loss_ = 0;
  Clock::time_point start_, shown_;
};

}  // namespace program

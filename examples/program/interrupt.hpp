// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <csignal>
#include <cstddef>

namespace program {

inline constexpr int kInterrupted = 130;  ///< the exit code of a program that ends on Ctrl-C: 128 + SIGINT

/// While it lives, the first Ctrl-C (or SIGTERM, or the end of the terminal) only sets a mark; a second one ends the program at once. A signal that whoever started
/// the program let it ignore stays ignored, as that of the terminal's end under nohup.
class InterruptScope {
 public:
  InterruptScope() {
    mark() = 0;
    for (std::size_t i = 0; i < kSignals.size(); ++i)
      if ((old_[i] = std::signal(kSignals[i], &handle)) == SIG_IGN) std::signal(kSignals[i], SIG_IGN);
  }
  ~InterruptScope() {
    for (std::size_t i = 0; i < kSignals.size(); ++i) std::signal(kSignals[i], old_[i]);
    mark() = 0;  // it has been obeyed: ranks that wait for one that still writes are patient again
  }
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  static bool requested() { return mark() != 0; }

 private:
  using Handler = void (*)(int);
#ifdef SIGHUP
  static constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};
#else
  static constexpr std::array kSignals{SIGINT, SIGTERM};
#endif
  static volatile std::sig_atomic_t& mark() {
    static volatile std::sig_atomic_t value = 0;  // constant initialisation: safe in a handler
    return value;
  }
  static void handle(int signal) {
    mark() = 1;
    std::signal(signal, SIG_DFL);
  }

  std::array<Handler, kSignals.size()> old_;
};

}  // namespace program

// SPDX-License-Identifier: MIT
#pragma once

#include <csignal>

namespace program {

inline constexpr int kInterrupted = 130;  ///< the exit code of a program that ends on Ctrl-C: 128 + SIGINT

/// While it lives, the first Ctrl-C (or SIGTERM, or the end of the terminal) only sets a mark; a second one ends the program at once.
class InterruptScope {
 public:
  InterruptScope() {
    mark() = 0;
    old_int_ = std::signal(SIGINT, &handle);
    old_term_ = std::signal(SIGTERM, &handle);
#ifdef SIGHUP
    old_hup_ = std::signal(SIGHUP, &handle);
#endif
  }
  ~InterruptScope() {
    std::signal(SIGINT, old_int_);
    std::signal(SIGTERM, old_term_);
#ifdef SIGHUP
    std::signal(SIGHUP, old_hup_);
#endif
  }
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  static bool requested() { return mark() != 0; }

 private:
  using Handler = void (*)(int);
  static volatile std::sig_atomic_t& mark() {
    static volatile std::sig_atomic_t value = 0;  // constant initialisation: safe in a handler
    return value;
  }
  static void handle(int signal) {
    mark() = 1;
    std::signal(signal, SIG_DFL);
  }

  Handler old_int_, old_term_;
#ifdef SIGHUP
  Handler old_hup_;
#endif
};

}  // namespace program

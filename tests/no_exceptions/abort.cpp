// SPDX-License-Identifier: MIT
// Without exceptions and without a handler, an error says its sentence and ends the program. Here that is caught.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <heed/core/error.hpp>

int main() {
  std::signal(SIGABRT, [](int) {
    std::fputs("aborted\n", stderr);
    std::_Exit(EXIT_SUCCESS);
  });
  heed::require(true, "nothing is wrong");
  heed::require(false, "2 were given, ", 3, " expected");
  return EXIT_FAILURE;
}

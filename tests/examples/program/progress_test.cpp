// SPDX-License-Identifier: MIT
#include "program/progress.hpp"

#if defined(__linux__)
#include <fcntl.h>
#endif
#include <cstdlib>
#include <string>

#include "catch.hpp"

using program::bar_line, program::first_characters;

TEST_CASE("the bar is as full as the epoch, and goes where it does not fit") {
  const std::string text(40, 'x');
  const auto bar = [](int full) {
    std::string result;
    for (int i = 0; i < 24; ++i) result += i < full ? "━" : "─";
    return result + ' ';
  };
  CHECK(bar_line(0, 195, text, 65) == bar(0) + text);
  CHECK(bar_line(98, 195, text, 65) == bar(12) + text);
  CHECK(bar_line(195, 195, text, 200) == bar(24) + text);
  CHECK(bar_line(98, 195, text, 64) == text);
  CHECK(bar_line(98, 195, text, 20) == text);
}

TEST_CASE("characters are not bytes") {
  CHECK(first_characters("abc", 5) == "abc");
  CHECK(first_characters("abc", 2) == "ab");
  CHECK(first_characters("a━é─", 3) == "a━é");
  CHECK(first_characters("a\xff\xffz", 3) == "a\xff\xff");
  CHECK(first_characters("", 3).empty());
  CHECK(first_characters("abc", 0).empty());
}

#if defined(__linux__)
TEST_CASE("a line is redrawn within the columns of the terminal") {
  const int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) return;  // no pseudo-terminals here
  std::FILE* terminal = std::fopen(ptsname(master), "r+");
  REQUIRE(terminal);
  CHECK(program::is_terminal(terminal));
  CHECK(program::terminal_columns(terminal) == 79);  // it does not say
  const winsize narrow{.ws_row = 24, .ws_col = 30, .ws_xpixel = 0, .ws_ypixel = 0};
  REQUIRE(ioctl(master, TIOCSWINSZ, &narrow) == 0);
  CHECK(program::terminal_columns(terminal) == 29);
  program::redraw(terminal, std::string(50, 'x'));
  char seen[200];
  const auto count = read(master, seen, sizeof seen);
  CHECK(std::string(seen, static_cast<std::size_t>(count)) == "\r\033[K" + std::string(29, 'x'));
  std::fclose(terminal);
  close(master);
}
#endif

// SPDX-License-Identifier: MIT
#include <heed/io/utf8.hpp>

#include "catch.hpp"

TEST_CASE("Every character is written and recognised", "[utf8]") {
  for (std::uint32_t code = 0; code <= 0x10ffff; ++code) {
    if (code >= 0xd800 && code < 0xe000) continue;  // surrogates are no characters
    std::string bytes;
    heed::append_utf8(bytes, code);
    const std::size_t expected = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (bytes.size() != expected || heed::utf8_length(bytes + "x") != expected || !heed::is_utf8(bytes)) FAIL("U+" << std::hex << code);
  }
}

TEST_CASE("What is no UTF-8 is told from it", "[utf8]") {
  // Unicode 15, table 3-7: a lone tail, overlong forms, surrogates, beyond the last plane, cut sequences, bytes that never occur.
  for (const char* bytes : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
           "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3", "\xe2\x82", "\xf0\x9d\x84", "\xc3\x28",
           "\xe2\x28\xac", "\xf0\x9d\x28\x9e", "\xfe", "\xff"}) {
    CHECK(heed::utf8_length(bytes) == 0);
    CHECK(!heed::is_utf8(std::string("ok") + bytes));
  }
  CHECK(heed::utf8_length("") == 0);
  CHECK(heed::is_utf8(""));
  CHECK(heed::is_utf8(std::string_view("a\0b", 3)));
}

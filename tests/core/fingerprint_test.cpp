// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/core/fingerprint.hpp>
#include <heed/core/shape.hpp>

using namespace heed;

TEST_CASE("a fingerprint is FNV-1a's 64 bits") {
  // The authors' test vectors (draft-eastlake-fnv, appendix C).
  CHECK(Fingerprint().value() == 0xcbf29ce484222325u);
  CHECK(Fingerprint().bytes("a", 1).value() == 0xaf63dc4c8601ec8cu);
  CHECK(Fingerprint().bytes("foobar", 6).value() == 0x85944171f73967e8u);
  CHECK(Fingerprint().bytes("foo", 3).bytes("bar", 3).text() == "85944171f73967e8");
  CHECK(Fingerprint(Fingerprint().bytes("foo", 3).value()).bytes("bar", 3).text() == "85944171f73967e8");
}

TEST_CASE("numbers, words and shapes are bytes of one order on each machine") {
  CHECK(Fingerprint().number(0x0807060504030201u).value() == Fingerprint().bytes("\1\2\3\4\5\6\7\10", 8).value());
  CHECK(Fingerprint().word("foo").value() == Fingerprint().bytes("foo", 4).value());
  CHECK(Fingerprint().word("foo").word("bar").value() == Fingerprint().bytes("foo\0bar", 8).value());
  CHECK(Fingerprint().shape(Shape{5, 7}).value() == Fingerprint().number(2).number(5).number(7).value());
}

TEST_CASE("a fingerprint's text has sixteen digits") {
  CHECK(Fingerprint(0xabcu).text() == "0000000000000abc");
  CHECK(Fingerprint(0xfedcba9876543210u).text() == "fedcba9876543210");
}

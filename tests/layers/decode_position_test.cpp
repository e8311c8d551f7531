// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/layers/decode_position.hpp>

using namespace heed;

TEST_CASE("a position goes back, and not forward") {
  DecodePosition position{.position = 5};
  CHECK(position.length() == 5);
  position.truncate(5);
  position.truncate(3);
  CHECK(position.length() == 3);
  CHECK_THROWS_WITH(position.truncate(4), "DecodePosition: truncate(4) must lie in 0 ... length = 3");
  CHECK_THROWS_AS(position.truncate(-1), std::invalid_argument);
  CHECK(position.position == 3);
}

// SPDX-License-Identifier: MIT
#include <heed/layers/size2d.hpp>

#include "catch.hpp"

using heed::Padding1d;
using heed::Padding2d;
using heed::Size2d;

TEST_CASE("sizes are given once for both axes, or for each") {
  CHECK(Size2d(3) == Size2d{3, 3});
  CHECK(Size2d{2, 5}.to_string() == "2x5");
}

TEST_CASE("padding is given for all sides, both axes, or each side") {
  CHECK(Padding2d(2) == Padding2d{2, 2, 2, 2});
  CHECK(Padding2d{1, 2} == Padding2d{1, 2, 1, 2});
  CHECK(Padding2d(Size2d{1, 2}) == Padding2d{1, 2});
  CHECK(Padding2d{1, 2}.to_string() == "1x2");
  CHECK(Padding2d{1, 2, 3, 4}.to_string() == "1,2,3,4");
}

TEST_CASE("padding of sequences is given for both ends, or for each") {
  CHECK(Padding1d(2) == Padding1d{2, 2});
  CHECK_FALSE(Padding1d(2) == Padding1d{2, 1});
  CHECK(Padding1d(2).to_string() == "2");
  CHECK(Padding1d{2, 0}.to_string() == "2,0");
}

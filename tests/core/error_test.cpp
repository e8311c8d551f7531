// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <cmath>
#include <limits>
#include <string>

#include <heed/core/error.hpp>

using namespace heed;

namespace {
struct Counted {
  int* calls;
  std::string to_string() const {
    ++*calls;
    return "counted";
  }
};
}  // namespace

TEST_CASE("text puts its parts one after another") {
  const std::string name = "weight";
  CHECK(text() == "");
  CHECK(text("layer ", name, ':', std::string_view(" 3")) == "layer weight: 3");
  CHECK(text(1, ' ', -2L, ' ', 3u, ' ', true, ' ', false) == "1 -2 3 true false");
  CHECK(text(0.1f) == "0.100000001");  // nine digits tell two floats apart
  CHECK(text(0.25, ' ', 1e-12) == "0.25 1e-12");
  CHECK(text(0.1, ' ', 1e300, ' ', -0.0) == "0.1 1e+300 -0");
  CHECK(text(3.1415926535) == "3.1415926535");      // as few digits as read back the same
  CHECK(text(0.1 + 0.2) == "0.30000000000000004");  // as many as it takes
  CHECK(std::stod(text(1.0 / 3.0)) == 1.0 / 3.0);
  CHECK(text(std::numeric_limits<double>::infinity(), ' ', std::nan("")) == "inf nan");
  CHECK(text(-std::nan("")) == "nan");
}

TEST_CASE("require throws the named error, and words the parts only then") {
  int calls = 0;
  require(true, Counted{&calls});
  CHECK(calls == 0);
  CHECK_THROWS_AS(require(false, Counted{&calls}), std::invalid_argument);
  CHECK(calls == 1);
  CHECK_THROWS_AS(require<ShapeError>(false, "x"), ShapeError);
  CHECK_THROWS_AS(require<ShapeError>(false, "x"), std::invalid_argument);  // a ShapeError is one
  CHECK_THROWS_AS(fail<FileError>("x"), FileError);
  CHECK_THROWS_AS(fail<FileError>("x"), std::runtime_error);
}

TEST_CASE("a message starts with the path of the layer at work") {
  CHECK_THROWS_WITH(fail("3 channels, not ", 4), "3 channels, not 4");
  LayerScope block("2");
  LayerScope attention("attention");
  CHECK_THROWS_WITH(fail("3 channels, not ", 4), "2.attention: 3 channels, not 4");
}

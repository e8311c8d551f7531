// SPDX-License-Identifier: MIT
#include "catch.hpp"

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

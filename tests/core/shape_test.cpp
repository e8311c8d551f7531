// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/core/shape.hpp>

#include <algorithm>
#include <cstdint>
#include <new>

using namespace heed;

TEST_CASE("a shape reads as rows x features") {
  const Shape images = image_shape(8, 32, 16, 3);
  CHECK(images == Shape{8, 32, 16, 3});
  CHECK(images.rank() == 4);
  CHECK(images.size() == 8 * 32 * 16 * 3);
  CHECK(images.rows() == 8 * 32 * 16);
  CHECK(images.features() == 3);
  CHECK(images[1] == 32);
  CHECK(images[-1] == 3);
  CHECK(images[-4] == 8);
  CHECK(token_shape(2, 5, 7) == Shape{2, 5, 7});

  Index product = 1;
  for (Index size : images) product *= size;
  CHECK(product == images.size());
}

TEST_CASE("the axes that a new shape does not have are 0") {
  alignas(Shape) unsigned char memory[2][sizeof(Shape)];
  std::fill_n(memory[0], sizeof memory, static_cast<unsigned char>(0xee));
  asm volatile("" : : "r"(memory) : "memory");  // so that this is not left out
  const Shape *none = new (memory[0]) Shape, *one = new (memory[1]) Shape{5};
  for (int axis = 0; axis < Shape::kMaxRank; ++axis) CHECK(((*none)[axis] == 0 && (*one)[axis] == (axis == 0 ? 5 : 0)));
}

TEST_CASE("shapes of rank 0 and 1 and empty axes") {
  CHECK(Shape{}.size() == 1);
  CHECK(Shape{}.rows() == 1);
  CHECK(Shape{}.features() == 1);
  CHECK(Shape{6}.rows() == 1);
  CHECK(Shape{6}.features() == 6);
  CHECK(Shape{0, 4}.size() == 0);
  CHECK(Shape{0, 4}.rows() == 0);
  CHECK(Shape{4, 0}.rows() == 4);
}

TEST_CASE("shapes in words") {
  CHECK(Shape{}.to_string() == "scalar");
  CHECK(Shape{7}.to_string() == "7");
  CHECK(Shape{8, 32, 32, 3}.to_string() == "8x32x32x3");
}

TEST_CASE("shapes are equal when rank and sizes are") {
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(Shape{2, 3} != Shape{3, 2});
  CHECK(Shape{2, 3} != Shape{2, 3, 1});
  Shape grown{2, 3, 9};
  grown[-1] = 4;
  CHECK(grown == Shape{2, 3, 4});
}

TEST_CASE("shapes are read from any integers and refuse what they cannot hold") {
  const std::uint64_t sizes[] = {4, 5, 6, 1, 1, 1, 1, 1, 1};
  CHECK(Shape(sizes, 3) == Shape{4, 5, 6});
  CHECK(Shape(sizes, 8).rank() == Shape::kMaxRank);
  CHECK_THROWS_AS(Shape(sizes, 9), ShapeError);
  CHECK_THROWS_WITH((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), contains("9 axes given, at most 8"));
  CHECK_THROWS_WITH((Shape{4, -1}), contains("an axis of size -1"));
  Shape full{1, 2, 3, 4, 5, 6, 7, 8};
  CHECK_THROWS_AS(full.push_back(9), ShapeError);
  CHECK(full.rank() == 8);
}

TEST_CASE("shapes of more elements than can be counted are refused") {
  const Index large = Index{1} << 32;
  CHECK_THROWS_WITH(
      (Shape{large, large}), contains("an axis of size 4294967296 on top of 4294967296 makes more elements than can be counted"));
  CHECK_THROWS_AS((Shape{0, large, large}), ShapeError);  // rows and parts of it would overflow
  CHECK_THROWS_AS((Shape{3, PTRDIFF_MAX / 2}), ShapeError);
  CHECK((Shape{2, PTRDIFF_MAX / 2}).size() == PTRDIFF_MAX - 1);
  CHECK((Shape{0, PTRDIFF_MAX}).size() == 0);
  Shape kept{large, 5};
  CHECK_THROWS_AS(kept.push_back(large), ShapeError);
  CHECK(kept == Shape{large, 5});

  CHECK(Shape{}.fits(PTRDIFF_MAX));
  CHECK(Shape{PTRDIFF_MAX / 8}.fits(8));
  CHECK_FALSE(Shape{PTRDIFF_MAX / 8 + 1}.fits(8));
  Shape negative{4, 4};
  negative[0] = -4;
  CHECK_FALSE(negative.fits(1));
}

// SPDX-License-Identifier: MIT
#include <cstring>
#include <vector>

#include <heed/data/views.hpp>

#include "catch.hpp"
#include "reference/augment_reference.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;

TEST_CASE("One, two or six views with weights that add up to 1", "[data]") {
  for (int count : {1, 2, 6}) {
    REQUIRE(static_cast<int>(views(count).size()) == count);
    double sum = 0;
    for (const View& view : views(count)) sum += view.weight;
    CHECK(sum == 1.0);
    const Placement& plain = views(count)[0].placement;
    CHECK((plain.down == 0 && plain.right == 0 && !plain.flip && plain.cut == 0));
  }
  CHECK(views(2)[1].placement.flip);
  int shifts[3] = {}, flips = 0;  // by -1, 0, +1
  for (const View& view : views(6)) {
    CHECK(view.placement.down == view.placement.right);
    CHECK(view.weight == (view.placement.down == 0 ? 0.25 : 0.125));
    ++shifts[view.placement.down + 1];
    flips += view.placement.flip;
  }
  CHECK((shifts[0] == 2 && shifts[1] == 2 && shifts[2] == 2 && flips == 3));
  for (int count : {-1, 0, 3, 5, 7}) CHECK_THROWS_AS(views(count), std::invalid_argument);
  CHECK_THROWS_WITH(views(3), "views: 3 asked for, expected 1, 2 or 6");
}

TEMPLATE_TEST_CASE("A view shows what the plain reference shows, whatever the number of threads", "[data]", float, double) {
  using T = TestType;
  for (const Shape& shape : {Shape{1, 2, 2, 1}, Shape{17, 5, 7, 3}, Shape{3, 4, 4, 2}}) {
    const auto images = reference::random_tensor<T, 4>(shape, 3);
    const Shape one{shape[1], shape[2], shape[3]};
    const std::vector<T> scale(static_cast<std::size_t>(one[2]), T(1)), shift(scale.size(), T(0));
    for (const View& view : views(6))
      for (int threads : {1, 2, 3}) {
        const ThreadScope scope(threads);
        Tensor<T, 4> out(shape);
        view_images<T>(images, view, out.view());
        bool equal = true;
        for (Index n = 0; n < shape[0]; ++n) {
          const std::vector<T> image(images.data() + n * one.size(), images.data() + (n + 1) * one.size());
          const auto expected = reference::place_image<T, T>(image, one, view.placement, scale, shift);
          equal &= std::equal(expected.begin(), expected.end(), out.data() + n * one.size());
        }
        CHECK(equal);
      }
  }
}

TEST_CASE("The plain view is a copy to the last bit", "[data]") {
  Tensor<float, 4> images({1, 1, 2, 2}), out({1, 1, 2, 2});
  images[0] = -0.0f;
  images[1] = 1e-42f;  // subnormal
  images[2] = -3.25f;
  view_images<float>(images, views(1)[0], out.view());
  CHECK(std::memcmp(images.data(), out.data(), sizeof(float) * 4) == 0);
}

TEST_CASE("Views check shapes", "[data]") {
  Tensor<float, 4> images({2, 1, 3, 1}), other({2, 3, 1, 1}), same({2, 1, 3, 1}), none({0, 1, 3, 1});
  CHECK_THROWS_AS(view_images<float>(images, views(1)[0], other.view()), ShapeError);
  CHECK_THROWS_WITH(view_images<float>(images, views(6)[2], same.view()), "view_images: a shift by 1 and 1 does not fit images of 1x3x1");
  Tensor<float, 4> narrow({2, 3, 1, 1});
  CHECK_THROWS_AS(view_images<float>(other, views(6)[2], narrow.view()), ShapeError);
  CHECK_NOTHROW(view_images<float>(images, views(2)[1], same.view()));
  CHECK_NOTHROW(view_images<float>(none, views(6)[2], none.view()));
}

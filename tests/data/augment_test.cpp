// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdint>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/data/augment.hpp>

#include "catch.hpp"
#include "reference/augment_reference.hpp"

using namespace heed;

namespace {

template <class P, class T>
void check_placements(const Shape& shape) {
  const CounterRandom random{17, static_cast<std::uint64_t>(shape[1])};
  std::vector<P> image(static_cast<std::size_t>(shape.size()));
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<P>(random.uniform(i, 0, 255));
  std::vector<T> scale, shift, found(image.size());
  for (Index c = 0; c < shape[2]; ++c) {
    scale.push_back(T(0.01) * T(c + 1));
    shift.push_back(T(0.3) - T(c));
  }
  const Index side = std::min(shape[0], shape[1]);
  for (const Index down : {Index{0}, Index{1}, Index{-1}, side - 1, 1 - side})
    for (const Index right : {Index{0}, Index{1}, Index{-2}, side - 1, 1 - side})
      for (const bool flip : {false, true})
        for (const Index cut : {Index{0}, Index{1}, side}) {
          if (std::abs(down) >= shape[0] || std::abs(right) >= shape[1]) continue;
          const Placement placement{
              .down = down, .right = right, .flip = flip, .cut = cut, .cut_top = shape[0] - cut, .cut_left = (shape[1] - cut) / 2};
          place_image(image.data(), shape, placement, scale.data(), shift.data(), found.data());
          const auto expected = reference::place_image<P, T>(image, shape, placement, scale, shift);
          bool equal = true;  // up to the last bit: the compiler may join the multiplication and the addition on one side only
          for (std::size_t i = 0; i < found.size(); ++i) equal &= std::abs(found[i] - expected[i]) <= T(1e-5);
          CAPTURE(shape, down, right, flip, cut);
          CHECK(equal);
        }
}

}  // namespace

TEST_CASE("A placed image is the mirrored, reflected, shifted, scaled and cut one", "[data]") {
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{1, 4, 1}, Shape{4, 1, 3}, Shape{2, 2, 1}, Shape{3, 5, 2}, Shape{5, 3, 4}, Shape{8, 8, 3},
           Shape{3, 63, 1}, Shape{3, 64, 3}, Shape{4, 65, 3}, Shape{2, 130, 2}}) {
    check_placements<std::uint8_t, float>(shape);
    check_placements<std::uint8_t, double>(shape);
    check_placements<float, float>(shape);
    check_placements<double, double>(shape);
  }
}

TEST_CASE("Double pixels far from zero keep their digits in a float model", "[data]") {
  const double row[] = {1.7e9, 1.7e9 + 10}, scale = 0.2, shift = -1.7e9 / 5 - 1;  // mean 1.7e9 + 5, deviation 5
  float out[2];
  place_image(row, {1, 2, 1}, {}, &scale, &shift, out);
  CHECK(out[0] == Approx(-1));
  CHECK(out[1] == Approx(1));
}

TEST_CASE("Reflection does not repeat the edge", "[data]") {
  const std::uint8_t row[] = {10, 20, 30, 40};
  const float one = 1, none = 0;
  float out[4];
  const auto shifted = [&](Index right, bool flip) {
    place_image(row, {1, 4, 1}, Placement{.right = right, .flip = flip}, &one, &none, out);
    return std::vector<float>(out, out + 4);
  };
  CHECK(shifted(0, false) == std::vector<float>{10, 20, 30, 40});
  CHECK(shifted(2, false) == std::vector<float>{30, 40, 30, 20});
  CHECK(shifted(-3, false) == std::vector<float>{40, 30, 20, 10});
  CHECK(shifted(0, true) == std::vector<float>{40, 30, 20, 10});
  CHECK(shifted(1, true) == std::vector<float>{30, 20, 10, 20});
}

TEST_CASE("Placements are pure functions of seed, epoch and image", "[data]") {
  const Augmentation all{.translate = 3, .flip = Flip::random, .cutout = 5};
  const Shape shape{32, 32, 3};
  const auto same = [](const Placement& a, const Placement& b) {
    return a.down == b.down && a.right == b.right && a.flip == b.flip && a.cut == b.cut && a.cut_top == b.cut_top &&
           a.cut_left == b.cut_left;
  };
  int other_seed = 0, other_epoch = 0, other_image = 0;
  for (Index image = 0; image < 100; ++image) {
    const Placement placement = place(all, shape, 1, 2, image);
    CHECK(same(placement, place(all, shape, 1, 2, image)));
    other_seed += !same(placement, place(all, shape, 2, 2, image));
    other_epoch += !same(placement, place(all, shape, 1, 3, image));
    other_image += !same(placement, place(all, shape, 1, 2, image + 1));
  }
  CHECK(other_seed > 95);
  CHECK(other_epoch > 95);
  CHECK(other_image > 95);
  CHECK(same(place({}, shape, 1, 2, 3), Placement{}));
}

TEST_CASE("Shifts, flips and cuts are spread evenly over what is allowed", "[data]") {
  const Augmentation all{.translate = 2, .flip = Flip::random, .cutout = 3};
  const Shape shape{6, 7, 1};
  constexpr Index kImages = 20000;
  std::vector<Index> shifts(25), cuts(20), flips(10);
  for (Index image = 0; image < kImages; ++image) {
    const Placement p = place(all, shape, 3, 1, image);
    REQUIRE((p.down >= -2 && p.down <= 2 && p.right >= -2 && p.right <= 2));
    REQUIRE((p.cut == 3 && p.cut_top >= 0 && p.cut_top <= 3 && p.cut_left >= 0 && p.cut_left <= 4));
    ++shifts[static_cast<std::size_t>((p.down + 2) * 5 + p.right + 2)];
    ++cuts[static_cast<std::size_t>(p.cut_top * 5 + p.cut_left)];
    ++flips[static_cast<std::size_t>((p.right + 2) * 2 + p.flip)];  // together with a shift: one does not tell the other
  }
  // Five standard deviations of a binomial count.
  const auto even = [](Index count, double cases) {
    const double expected = kImages / cases;
    return std::abs(static_cast<double>(count) - expected) < 5 * std::sqrt(expected * (1 - 1 / cases));
  };
  for (Index count : shifts) CHECK(even(count, 25));
  for (Index count : cuts) CHECK(even(count, 20));
  for (Index count : flips) CHECK(even(count, 10));
}

TEST_CASE("An alternating flip starts at random and then changes every epoch", "[data]") {
  const Augmentation alternating{.flip = Flip::alternating};
  const Shape shape{8, 8, 1};
  Index first = 0;
  for (Index image = 0; image < 1000; ++image) {
    const bool start = place(alternating, shape, 5, 0, image).flip;
    first += start;
    for (Index epoch = 1; epoch < 6; ++epoch) CHECK(place(alternating, shape, 5, epoch, image).flip == (start != (epoch % 2 == 1)));
  }
  CHECK(std::abs(first - 500) < 80);  // five standard deviations
  Index changed = 0;
  for (Index image = 0; image < 1000; ++image)
    changed += place(alternating, shape, 5, 0, image).flip != place(alternating, shape, 6, 0, image).flip;
  CHECK(std::abs(changed - 500) < 80);
}

TEST_CASE("An augmentation that does not fit the images is refused", "[data]") {
  const Shape shape{4, 3, 1};
  CHECK_NOTHROW(check_augmentation({.translate = 2, .cutout = 3}, shape));
  CHECK_THROWS_WITH(check_augmentation({.translate = 3}, shape), "Augmentation: translate is 3, expected 0 to 2 for images of 4x3x1");
  CHECK_THROWS_AS(check_augmentation({.translate = -1}, shape), std::invalid_argument);
  CHECK_THROWS_WITH(check_augmentation({.cutout = 4}, shape), "Augmentation: cutout is 4, expected 0 to 3 for images of 4x3x1");
  CHECK_THROWS_AS(check_augmentation({.cutout = -1}, shape), std::invalid_argument);
}

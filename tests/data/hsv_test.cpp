// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <heed/core/random.hpp>
#include <heed/data/hsv.hpp>

using namespace heed;
using Colour = std::array<double, 3>;

namespace {
void check_colour(const Colour& found, const Colour& expected) {
  for (std::size_t i = 0; i < 3; ++i) CHECK(found[i] == Approx(expected[i]).margin(1e-12));
}
}  // namespace

TEST_CASE("pure colours, greys and mixtures have the hue, saturation and value that everybody gives them") {
  const std::pair<Colour, Colour> known[] = {
      {{1, 0, 0}, {0, 1, 1}},
      {{1, 1, 0}, {1 / 6., 1, 1}},
      {{0, 1, 0}, {2 / 6., 1, 1}},
      {{0, 1, 1}, {3 / 6., 1, 1}},
      {{0, 0, 1}, {4 / 6., 1, 1}},
      {{1, 0, 1}, {5 / 6., 1, 1}},
      {{0, 0, 0}, {0, 0, 0}},
      {{0.3, 0.3, 0.3}, {0, 0, 0.3}},
      {{1, 1, 1}, {0, 0, 1}},
      {{0.8, 0.4, 0.6}, {11 / 12., 0.5, 0.8}},
      {{0.2, 0.5, 0.35}, {5 / 12., 0.6, 0.5}},
      {{0.5, 0.25, 0.75}, {0.75, 2 / 3., 0.75}},
  };
  for (const auto& [rgb, hsv] : known) {
    CAPTURE(rgb[0], rgb[1], rgb[2]);
    check_colour(rgb_to_hsv(rgb), hsv);
    check_colour(hsv_to_rgb(hsv), rgb);
  }
}

TEST_CASE("every colour comes back from its hue, saturation and value, and hues go round") {
  const CounterRandom random{1};
  for (std::uint64_t i = 0; i < 3000; i += 3) {
    const Colour rgb = {random.uniform(i), random.uniform(i + 1), random.uniform(i + 2)};
    Colour hsv = rgb_to_hsv(rgb);
    for (const double part : hsv) CHECK((part >= 0 && part <= 1));
    check_colour(hsv_to_rgb(hsv), rgb);
    hsv[0] += 1;
    check_colour(hsv_to_rgb(hsv), rgb);
    hsv[0] -= 3;
    check_colour(hsv_to_rgb(hsv), rgb);
  }
  check_colour(hsv_to_rgb({1, 1, 1}), {1, 0, 0});
}

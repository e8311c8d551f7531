// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <string>
#include <vector>

#include <heed/core/random.hpp>
#include <heed/data/raster.hpp>

using namespace heed;

namespace {

Raster random_raster(Index height, Index width, Index channels) {
  Raster result({height, width, channels});
  const CounterRandom random{6};
  for (Index i = 0; i < result.size(); ++i) result[i] = random.uniform(static_cast<std::uint64_t>(i));
  return result;
}
Raster row(const std::vector<double>& values) {
  Raster result({1, static_cast<Index>(values.size()), 1});
  std::copy(values.begin(), values.end(), result.data());
  return result;
}
void check_close(const Raster& found, const Raster& expected) {
  REQUIRE(found.shape() == expected.shape());
  for (Index i = 0; i < found.size(); ++i) CHECK(found[i] == Approx(expected[i]).margin(1e-12));
}
Tensor<double, 2> kernel(Index rows, Index columns, const std::vector<double>& weights) {
  Tensor<double, 2> result({rows, columns});
  std::copy(weights.begin(), weights.end(), result.data());
  return result;
}

}  // namespace

TEST_CASE("a border continues an image as its name says, however far") {
  const auto line = [](Border border, Index size) {
    std::string letters;
    for (Index i = -9; i < size + 9; ++i) letters += static_cast<char>('a' + border_index(i, size, border));
    return letters;
  };
  CHECK(line(Border::nearest, 4) == "aaaaaaaaaabcdddddddddd");
  CHECK(line(Border::reflect, 4) == "aabcddcbaabcddcbaabcdd");
  CHECK(line(Border::reflect_101, 4) == "dcbabcdcbabcdcbabcdcba");
  CHECK(line(Border::reflect, 1) == std::string(19, 'a'));
  CHECK(line(Border::reflect_101, 1) == std::string(19, 'a'));
  CHECK(line(Border::reflect_101, 2) == "babababababababababa");
}

TEST_CASE("a Gaussian kernel has the bell's weights, and they add up to 1") {
  const std::vector<double> found = gaussian_kernel(1.5, 2);
  const double one = std::exp(-1 / 4.5), two = std::exp(-4 / 4.5), sum = 1 + 2 * one + 2 * two;
  const double expected[] = {two / sum, one / sum, 1 / sum, one / sum, two / sum};
  REQUIRE(found.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) CHECK(found[i] == Approx(expected[i]).epsilon(1e-14));
  CHECK(gaussian_kernel(0, 1) == std::vector<double>{0, 1, 0});
  CHECK(gaussian_kernel(2, 0) == std::vector<double>{1});
  CHECK_THROWS_WITH(gaussian_kernel(-1, 2), contains("sigma is -1"));
}

TEST_CASE("a filter weighs the surroundings of each pixel, without turning the kernel") {
  const auto weights = kernel(1, 3, {0.5, 2, 10});
  check_close(filter_raster(row({1, 2, 3}), weights, Border::nearest), row({0.5 + 2 + 20, 0.5 + 4 + 30, 1 + 6 + 30}));
  check_close(filter_raster(row({1, 2, 3}), weights, Border::reflect_101), row({1 + 2 + 20, 0.5 + 4 + 30, 1 + 6 + 20}));
  const auto upright = kernel(3, 1, {0.5, 2, 10});
  Raster column({3, 1, 1});
  column[0] = 1, column[1] = 2, column[2] = 3;
  CHECK(filter_raster(column, upright, Border::reflect)[0] == Approx(0.5 + 2 + 20));
  CHECK(filter_raster(column, upright, Border::reflect)[2] == Approx(1 + 6 + 30));

  const Raster image = random_raster(5, 6, 2);
  const auto wide = kernel(3, 5, {1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11, 12, 13, 14, 15});
  const Raster found = filter_raster(image, wide, Border::reflect);
  for (Index y = 0; y < 5; ++y)
    for (Index x = 0; x < 6; ++x)
      for (Index c = 0; c < 2; ++c) {
        double sum = 0;
        for (Index i = 0; i < 3; ++i)
          for (Index j = 0; j < 5; ++j)
            sum += wide(i, j) * image(border_index(y + i - 1, 5, Border::reflect), border_index(x + j - 2, 6, Border::reflect), c);
        CHECK(found(y, x, c) == Approx(sum));
      }
  CHECK_THROWS_WITH(filter_raster(image, kernel(2, 1, {1, 1}), Border::nearest), contains("odd sizes"));
}

TEST_CASE("the Gaussian filter is that of its kernel in both directions, as wide as asked") {
  const Raster image = random_raster(9, 8, 3);
  const std::vector<double> weights = gaussian_kernel(0.9, 3);  // 3 * 0.9 = 2.7
  auto square = Tensor<double, 2>({7, 7});
  for (Index i = 0; i < 7; ++i)
    for (Index j = 0; j < 7; ++j) square(i, j) = weights[static_cast<std::size_t>(i)] * weights[static_cast<std::size_t>(j)];
  check_close(gaussian_filter(image, 0.9, 3, Border::reflect), filter_raster(image, square, Border::reflect));
  check_close(gaussian_filter(image, 0, 3, Border::reflect), image);
}

TEST_CASE("between pixels an image is bilinear, and beyond its border it goes on") {
  Raster image({2, 3, 2});
  for (Index i = 0; i < image.size(); ++i) image[i] = static_cast<double>(i * i);
  const auto at = [&](double y, double x, Border border) {
    const BilinearPoint point(y, x, 2, 3, border);
    return std::vector<double>{
        point([&](Index i, Index j) { return image(i, j, 0); }), point([&](Index i, Index j) { return image(i, j, 1); })};
  };
  CHECK(at(1, 2, Border::nearest) == std::vector<double>{100, 121});
  CHECK(at(0, 0.25, Border::nearest) == std::vector<double>{0.75 * 0 + 0.25 * 4, 0.75 * 1 + 0.25 * 9});
  CHECK(at(0.5, 0, Border::nearest) == std::vector<double>{(0 + 36) / 2., (1 + 49) / 2.});
  CHECK(at(0.25, 0.5, Border::nearest)[0] == Approx(0.75 * (0 + 4) / 2 + 0.25 * (36 + 64) / 2));
  CHECK(at(-3, -0.5, Border::nearest)[0] == Approx(0));
  CHECK(at(0, -0.5, Border::reflect_101)[0] == Approx(2));
  CHECK(at(0, -0.5, Border::reflect)[0] == Approx(0));
  CHECK(at(0, 2.5, Border::reflect_101)[0] == Approx((16 + 4) / 2.));
}

TEST_CASE("a warped image has each pixel from where it is told") {
  const Raster image = random_raster(3, 4, 2);
  const Raster turned =
      warp_raster(image, 4, 3, Border::nearest, [](Index y, Index x) { return std::pair<double, double>(x, 3 - static_cast<double>(y)); });
  CHECK(turned.shape() == Shape{4, 3, 2});
  for (Index y = 0; y < 4; ++y)
    for (Index x = 0; x < 3; ++x)
      for (Index c = 0; c < 2; ++c) CHECK(turned(y, x, c) == image(x, 3 - y, c));
}

TEST_CASE("boxes: fewer pixels are means, more are repetitions") {
  check_close(box_resize(row({1, 2, 3, 4, 5, 6}), 1, 3), row({1.5, 3.5, 5.5}));
  check_close(box_resize(row({1, 2, 3, 4, 5}), 1, 3), row({1.5, 3, 4.5}));  // centres .5 1.5 | 2.5 | 3.5 4.5 in boxes of 5/3
  check_close(box_resize(row({1, 2, 3, 4}), 1, 3), row({1, 2.5, 4}));       // 1.5 and 2.5 lie in (4/3, 8/3]
  check_close(box_resize(row({1, 2, 3}), 1, 4), row({1, 2, 2, 3}));
  check_close(box_resize(row({1, 2, 3}), 1, 6), row({1, 1, 2, 2, 3, 3}));
  check_close(box_resize(row({1, 2, 3}), 1, 3), row({1, 2, 3}));
  const Raster image = random_raster(4, 6, 3), found = box_resize(image, 2, 3);
  for (Index y = 0; y < 2; ++y)
    for (Index x = 0; x < 3; ++x)
      for (Index c = 0; c < 3; ++c)
        CHECK(found(y, x, c) ==
              Approx(
                  (image(2 * y, 2 * x, c) + image(2 * y, 2 * x + 1, c) + image(2 * y + 1, 2 * x, c) + image(2 * y + 1, 2 * x + 1, c)) / 4));
}

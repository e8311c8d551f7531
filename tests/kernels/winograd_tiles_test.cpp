// SPDX-License-Identifier: MIT
#include <limits>
#include <numeric>
#include <vector>

#include <heed/kernels/tile.hpp>
#include <heed/kernels/winograd_tiles.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

using heed::Index;
using heed::Tensor;
using heed::kernels::Correlation;
namespace detail = heed::kernels::detail;

namespace {

/// A padded 3x3 convolution with `targets` of `height` x `width`.
Correlation correlation(Index images, Index height, Index width, Index channels) {
  const heed::kernels::Conv2dGeometry g{images, {height, width}, channels, {height, width}, channels, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1};
  return {images, 1, {heed::kernels::forward_axis(g, 0), heed::kernels::forward_axis(g, 1)}, channels, channels, {height, width}};
}

/// Points of all tiles of one panel, to `targets`.
template <int Size, class T, class Targets>
void transform(const Correlation& c, const Tensor<T, 1>& points, const Tensor<T, 1>& bias, Index width, const Targets& targets) {
  const detail::WinogradTiles<Size> tiles(c);
  const detail::PointRows<T> from{const_cast<T*>(points.data()), tiles.count * width, width, width, 0};
  Tensor<T, 1> elsewhere({2 * width});
  for (Index n = 0; n < c.target_channels; n += width)
    heed::dispatch<detail::TransformTargets<Size, T, heed::kernels::Whole, Targets>, T>(
        &tiles, Index(0), tiles.count, n, &from, static_cast<const T*>(bias.data()), elsewhere.data(), &targets);
}

template <int Size, class T>
void check_largest(Index images, Index height, Index width, Index channels, bool special) {
  INFO(images << 'x' << height << 'x' << width << 'x' << channels << ", tiles of " << Size);
  const Correlation c = correlation(images, height, width, channels);
  const detail::WinogradTiles<Size> tiles(c);
  const Index panel = heed::kernels::panel_width<T>();
  auto points = reference::random_tensor<T, 1>({tiles.count * panel * tiles.points}, 1);
  if (special) points.fill(T(0)), points[points.size() / 3] = std::numeric_limits<T>::quiet_NaN();
  const auto bias = reference::random_tensor<T, 1>({channels + panel}, 2);
  Tensor<T, 1> y({images * height * width * channels}), largest({images * (height / 2) * (width / 2) * channels}), kept(largest);
  Tensor<std::uint8_t, 1> winner({largest.size()});
  Tensor<T, 1> expected(largest);
  Tensor<std::uint8_t, 1> expected_winner(winner);
  winner.fill(99), largest.fill(T(99)), kept.fill(T(99));
  transform<Size>(c, points, bias, panel, detail::AllTargets<T>{y.data()});
  transform<Size>(c, points, bias, panel, detail::LargestTargets<T, void>{largest.data(), nullptr});
  transform<Size>(c, points, bias, panel, detail::LargestTargets<T, std::uint8_t>{kept.data(), winner.data()});
  const heed::kernels::Pool2dGeometry g{images, {height, width}, {height / 2, width / 2}, channels, {2, 2}, {2, 2}, {0, 0}, {1, 1}, {0, 0}};
  heed::kernels::max_pool2d_forward(g, y.data(), expected.data(), expected_winner.data());
  CHECK(reference::same_numbers(largest, expected));
  CHECK(reference::same_numbers(kept, expected));
  CHECK(reference::same_numbers(winner, expected_winner));
}

}  // namespace

TEMPLATE_TEST_CASE("the largest targets of windows are those that max-pooling finds", "", float, double) {
  for (const bool special : {false, true})
    for (const Index channels : {1, 3, 16, 24, 70}) {
      check_largest<2, TestType>(2, 5, 6, channels, special);
      check_largest<4, TestType>(2, 5, 6, channels, special);
      check_largest<4, TestType>(1, 9, 11, channels, special);
      check_largest<4, TestType>(1, 2, 3, channels, special);
    }
}

namespace {

/// Which pixels of an image, or of several, `number` tiles from `tile` on have asked for.
std::vector<Index> asked(const Correlation& c, Index tile, Index number, Index channels) {
  const detail::WinogradTiles<4> tiles(c);
  const Tensor<float, 1> x({tiles.source_pixels() * c.source_channels});
  heed::kernels::FetchAhead ahead;
  tiles.fetch_source(tile, number, channels, x.data(), ahead);
  std::vector<Index> pixels;
  while (!ahead.empty()) {
    const char* const line = ahead.take(1, x.data()).line;
    pixels.push_back((line - reinterpret_cast<const char*>(x.data())) / (4 * c.source_channels));
  }
  return pixels;
}
std::vector<Index> range(Index first, Index last) {
  std::vector<Index> all(static_cast<std::size_t>(last - first));
  std::iota(all.begin(), all.end(), first);
  return all;
}

}  // namespace

TEST_CASE("the pixels that tiles will read are asked for: rows of all channels or of some, and parts of wide rows") {
  const Correlation small = correlation(3, 9, 7, 16);  // 3 x 2 tiles an image; a pixel is a line
  CHECK(asked(small, 0, 2, 16) == range(0, 4 * 7));
  CHECK(asked(small, 2, 3, 16) == range(4 * 7, 9 * 7));          // to the end of the image
  CHECK(asked(small, 5, 2, 16) == range(8 * 7, 9 * 7 + 4 * 7));  // the last row of an image and the first of the next one
  CHECK(asked(small, 12, 99, 16) == range(18 * 7, 27 * 7));
  CHECK(asked(small, 18, 2, 16).empty());
  CHECK(asked(small, 100, 2, 16).empty());
  CHECK(asked(correlation(3, 9, 7, 32), 0, 2, 16) == range(0, 4 * 7));  // half of the channels: a line of each pixel
  const Correlation wide = correlation(2, 6, 22, 16);                   // 2 x 6 tiles
  std::vector<Index> expected;
  for (const Index row : {0, 1, 2, 3})
    for (const Index x : range(16, 22)) expected.push_back(row * 22 + x);
  CHECK(asked(wide, 4, 3, 16) == expected);
  expected.clear();
  for (const Index row : {4, 5})  // the image has no more
    for (const Index x : range(0, 12)) expected.push_back(row * 22 + x);
  CHECK(asked(wide, 6, 3, 16) == expected);
}

TEST_CASE("a tile's pixels outside of the image lie elsewhere") {
  const Correlation c = correlation(2, 5, 7, 3);
  const detail::WinogradTiles<4> tiles(c);
  REQUIRE(tiles.count == 2 * 2 * 2);
  const std::vector<float> x(2 * 5 * 7 * 3);
  const float zeros = 0;
  const float* source[36];
  tiles.source(7, x.data(), &zeros, source);  // the last tile of image 1: rows 3 to 8, columns 3 to 8
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j) CHECK(source[i * 6 + j] == (3 + i < 5 && 3 + j < 7 ? x.data() + ((5 + 3 + i) * 7 + 3 + j) * 3 : &zeros));
  const float* at[16];
  tiles.targets(5, x.data(), &zeros, at);  // rows 0 to 3, columns 4 to 7
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) CHECK(at[i * 4 + j] == (4 + j < 7 ? x.data() + ((5 + i) * 7 + 4 + j) * 3 : &zeros));
  const float* window[4];
  tiles.windows(5, x.data(), &zeros, window);  // of 2 x 3: row 0 and 1, column 2 and none
  CHECK(window[0] == x.data() + ((2 + 0) * 3 + 2) * 3);
  CHECK(window[1] == &zeros);
  CHECK(window[2] == x.data() + ((2 + 1) * 3 + 2) * 3);
  CHECK(window[3] == &zeros);
}

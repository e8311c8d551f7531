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
  const detail::WinogradBlock<Size> block(tiles, 0, tiles.count);
  const detail::MadeProducts<T> products{{const_cast<T*>(points.data()), tiles.count * width, width, width, 0}};
  Tensor<T, 1> elsewhere({2 * width});
  for (Index n = 0; n < c.target_channels; n += width)
    heed::dispatch<detail::TransformTargets<Size, T, heed::kernels::Whole, detail::MadeProducts<T>, Targets>, T>(
        &block, n, &products, static_cast<const T*>(bias.data()), elsewhere.data(), &targets);
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

TEST_CASE("a tile's pixels outside of the image, and targets of a neighbour, lie elsewhere") {
  const Correlation c = correlation(2, 5, 7, 3);
  const detail::WinogradTiles<4> tiles(c);
  REQUIRE(tiles.count == 2 * 2 * 2);
  const std::vector<float> x(2 * 5 * 7 * 3);
  const float zeros = 0;
  const float* source[36];
  tiles.source(tiles.place(7), x.data(), &zeros, source);  // the last tile of image 1 begins a target early: rows 2 to 7, columns 2 to 7
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j) CHECK(source[i * 6 + j] == (2 + i < 5 && 2 + j < 7 ? x.data() + ((5 + 2 + i) * 7 + 2 + j) * 3 : &zeros));
  const float* at[16];
  tiles.targets(tiles.place(5), x.data(), &zeros, at);  // rows 0 to 3, columns 3 to 6, of which 3 is the neighbour's
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) CHECK(at[i * 4 + j] == (j > 0 ? x.data() + ((5 + i) * 7 + 3 + j) * 3 : &zeros));
  const float* window[4];
  tiles.windows(tiles.place(5), x.data(), &zeros, window);  // of 2 x 3: row 0 and 1, column 2 and none
  CHECK(window[0] == x.data() + ((2 + 0) * 3 + 2) * 3);
  CHECK(window[1] == &zeros);
  CHECK(window[2] == x.data() + ((2 + 1) * 3 + 2) * 3);
  CHECK(window[3] == &zeros);
}

namespace {

/// Each target of an axis belongs to one tile, which has the points that its own targets take.
template <int Size>
void check_axis(Index targets) {
  INFO("F(" << Size << "), " << targets << " targets");
  const detail::WinogradAxis<Size> axis(targets);
  Index next = 0, points = 0;
  for (Index tile = 0; tile < axis.tiles; ++tile) {
    const Index first = axis.first_target(tile);
    const bool last = tile + 1 == axis.tiles, first_is_own = first == next, last_is_own = first + Size <= targets;
    CHECK((first_is_own || first + 1 == next));
    CHECK(axis.overlaps_at(tile) == !first_is_own);
    next = std::min(targets, first + Size);
    for (int point = 0; point < Size + 2; ++point) {
      const bool needed = point == 0 ? first_is_own : point <= Size || last_is_own;
      CHECK(needed == !(last && axis.is_spared(point)));
      points += needed;
    }
  }
  CHECK(next == targets);
  CHECK(axis.points() == points);
}

/// The places of a block's tiles: each once, and those with a point are a range in which groups keep their order.
template <int Size>
void check_block(const Correlation& c, Index first, Index last) {
  INFO("F(" << Size << "), " << c.axis[0].targets << 'x' << c.axis[1].targets << ", tiles " << first << " to " << last);
  constexpr int side = Size + 2;
  const detail::WinogradTiles<Size> tiles(c);
  const detail::WinogradBlock<Size> block(tiles, first, last);
  std::vector<Index> tile_at(static_cast<std::size_t>(last - first), -1);
  Index taken[4] = {};
  for (detail::WinogradPlace at = tiles.place(first); at.tile < last; tiles.next(at)) {
    const Index slot = block.slot(at, taken);
    REQUIRE((slot >= 0 && slot < last - first));
    REQUIRE(tile_at[static_cast<std::size_t>(slot)] == -1);
    tile_at[static_cast<std::size_t>(slot)] = at.tile;
    const detail::WinogradPlace found = tiles.place(at.tile);
    CHECK((at.image == found.image && at.row == found.row && at.col == found.col));
  }
  for (int point = 0; point < side * side; ++point) {
    const auto [begin, end] = block.with_point(point);
    bool right = 0 <= begin && begin <= end && end <= last - first;
    for (Index slot = 0; slot < last - first; ++slot) {
      const detail::WinogradPlace at = tiles.place(tile_at[static_cast<std::size_t>(slot)]);
      const bool has = !(at.row + 1 == tiles.rows && tiles.axis[0].is_spared(point / side)) &&
                       !(at.col + 1 == tiles.cols && tiles.axis[1].is_spared(point % side));
      right = right && has == (begin <= slot && slot < end);
    }
    CHECK(right);
  }
}

}  // namespace

TEST_CASE("the last tiles do without points that serve no target of theirs, and those that have a point lie one behind the other") {
  for (Index targets = 1; targets < 20; ++targets) check_axis<2>(targets), check_axis<4>(targets);
  const auto points = [](Index targets) { return detail::WinogradAxis<4>(targets).points(); };
  CHECK(points(16) == 24);
  CHECK(points(15) == 23);
  CHECK(points(14) == 22);
  CHECK(points(13) == 22);
  CHECK(points(7) == 11);
  CHECK(points(3) == 5);
  for (const Index height : {1, 4, 6, 7})
    for (const Index width : {2, 3, 8, 9, 15}) {
      const Correlation c = correlation(3, height, width, 1);
      const Index count = detail::WinogradTiles<4>(c).count, more = detail::WinogradTiles<2>(c).count;
      check_block<4>(c, 0, count), check_block<4>(c, count / 3, count / 2 + 1), check_block<4>(c, count - 1, count);
      check_block<2>(c, 0, more), check_block<2>(c, more / 4, more);
    }
}

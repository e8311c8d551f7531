// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>

#include <heed/core/random.hpp>
#include <heed/kernels/pool2d.hpp>

#include "catch.hpp"
#include "reference/poison_pool.hpp"
#include "reference/pool2d_reference.hpp"

using heed::Index;
using heed::Tensor;
using heed::kernels::Pool2dGeometry;

namespace {

Pool2dGeometry geometry(Index images, Index height, Index width, Index channels, Index kernel, Index stride, Index padding, Index dilation,
    bool ceil_mode = false, Index extra_at_end = 0) {
  Pool2dGeometry g{images, {height, width}, {}, channels, {kernel, kernel + 1}, {stride, stride}, {padding, padding}, {dilation, dilation},
      {padding + extra_at_end, padding}};
  for (int i = 0; i < 2; ++i)
    g.out_size[i] = heed::kernels::pool2d_windows(g.size[i], g.kernel[i], stride, padding, g.padding_end[i], dilation, ceil_mode);
  return g;
}

template <class T>
Tensor<T, 1> noise(Index count, std::uint64_t stream, Index levels) {
  Tensor<T, 1> result({count});
  const heed::CounterRandom random({stream});
  for (Index i = 0; i < count; ++i)  // few levels: many ties
    result[i] = static_cast<T>(random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(levels))) / static_cast<T>(16) - 3;
  return result;
}

template <class T>
double largest_difference(const Tensor<T, 1>& a, const Tensor<T, 1>& b) {
  double largest = 0;
  for (Index i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    largest = std::isnan(difference) ? HUGE_VAL : std::max(largest, difference);
  }
  return largest;
}

const Pool2dGeometry kCases[] = {geometry(1, 1, 2, 1, 1, 1, 0, 1), geometry(2, 6, 8, 3, 2, 2, 0, 1), geometry(2, 7, 5, 16, 2, 2, 0, 1),
    geometry(1, 9, 7, 17, 3, 2, 1, 1), geometry(2, 7, 9, 15, 2, 1, 1, 1), geometry(1, 10, 9, 33, 2, 1, 0, 3),
    geometry(2, 8, 7, 24, 3, 2, 0, 1, true), geometry(1, 6, 9, 5, 3, 2, 1, 1, true), geometry(1, 5, 5, 64, 1, 3, 0, 1),
    geometry(40, 9, 9, 40, 2, 2, 0, 1), geometry(1, 20, 22, 4, 4, 5, 2, 2, true), geometry(2, 5, 7, 5, 2, 2, 0, 1, false, 1),
    geometry(1, 6, 7, 6, 3, 2, 1, 1, true, 1), geometry(1, 7, 8, 17, 3, 2, 1, 2, true, 3), geometry(1, 5, 4, 3, 3, 1, 2, 1, false, 0),
    geometry(1, 2, 2, 3, 2, 1, 2, 3, false, 1),  // windows between whose taps the image lies
    geometry(2, 9, 11, 4, 3, 3, 2, 2, true, -1),
    // disjoint windows: side by side, with clipped ones at both ends, with gaps, and hanging over
    geometry(2, 7, 8, 17, 1, 2, 0, 1), geometry(2, 8, 12, 24, 2, 3, 1, 1), geometry(1, 9, 13, 5, 2, 5, 1, 2),
    geometry(1, 8, 10, 6, 2, 3, 0, 1, true), geometry(1, 8, 13, 7, 2, 5, 1, 2, true), geometry(1, 5, 16, 33, 3, 4, 0, 1),
    geometry(1, 7, 3, 4, 2, 4, 1, 1), geometry(1, 2, 3, 24, 2, 6, 1, 1, true), geometry(1, 8, 12, 72, 2, 3, 1, 1),
    geometry(1, 7, 10, 65, 1, 2, 0, 1)};

}  // namespace

TEMPLATE_TEST_CASE("max pooling agrees with the windows as they are written", "", float, double) {
  for (const Pool2dGeometry& g : kCases) {
    reference::poison_pool(1 << 18);
    INFO(
        g.size[0] << 'x' << g.size[1] << 'x' << g.channels << " kernel " << g.kernel[0] << 'x' << g.kernel[1] << " stride " << g.stride[0]);
    const Index in = g.images * g.size[0] * g.size[1] * g.channels, out = g.images * g.out_size[0] * g.out_size[1] * g.channels;
    const auto x = noise<TestType>(in, 1, 6), dy = noise<TestType>(out, 2, 64);
    Tensor<TestType, 1> y({out}), y_expected({out}), dx({in}), dx_expected({in});
    Tensor<std::uint8_t, 1> winner({out}), winner_expected({out});
    Tensor<std::int32_t, 1> wide({out});
    dx.fill(TestType(99));
    heed::kernels::max_pool2d_forward(g, x.data(), y.data(), winner.data());
    heed::kernels::max_pool2d_backward(g, dy.data(), std::as_const(winner).data(), dx.data());
    reference::max_pool2d(g, x.data(), dy.data(), y_expected.data(), winner_expected.data(), dx_expected.data());
    CHECK(largest_difference(y, y_expected) == 0);
    CHECK(std::equal(winner.data(), winner.data() + out, winner_expected.data()));  // the first maximum wins
    CHECK(largest_difference(dx, dx_expected) == 0);                                // sums of sixteenths are exact

    heed::kernels::max_pool2d_forward(g, x.data(), y.data(), wide.data());
    heed::kernels::max_pool2d_backward(g, dy.data(), std::as_const(wide).data(), dx.data());
    CHECK(std::equal(wide.data(), wide.data() + out, winner_expected.data()));
    CHECK(largest_difference(dx, dx_expected) == 0);
    y.fill(TestType(99));
    heed::kernels::max_pool2d_forward(g, x.data(), y.data(), static_cast<std::uint8_t*>(nullptr));
    CHECK(largest_difference(y, y_expected) == 0);
  }
}

TEMPLATE_TEST_CASE("average pooling agrees with the windows as they are written", "", float, double) {
  const heed::kernels::PoolDivisor divisors[] = {{true, 0}, {false, 0}, {true, 7}, {false, -2}};
  for (const Pool2dGeometry& g : kCases) {
    reference::poison_pool(1 << 18);
    for (const auto& divisor : divisors) {
      INFO(g.size[0] << 'x' << g.size[1] << 'x' << g.channels << " kernel " << g.kernel[0] << 'x' << g.kernel[1] << " dilation "
                     << g.dilation[0] << " include " << divisor.count_include_pad << " fixed " << divisor.fixed);
      const Index in = g.images * g.size[0] * g.size[1] * g.channels, out = g.images * g.out_size[0] * g.out_size[1] * g.channels;
      const auto x = noise<TestType>(in, 1, 99), dy = noise<TestType>(out, 2, 64);
      Tensor<TestType, 1> y({out}), y_expected({out}), dx({in}), dx_expected({in});
      dx.fill(TestType(99));
      heed::kernels::avg_pool2d_forward(g, divisor, x.data(), y.data());
      heed::kernels::avg_pool2d_backward(g, divisor, dy.data(), dx.data());
      reference::avg_pool2d(g, divisor, x.data(), dy.data(), y_expected.data(), dx_expected.data());
      CHECK(largest_difference(y, y_expected) < 32 * std::numeric_limits<TestType>::epsilon());
      CHECK(largest_difference(dx, dx_expected) < 64 * std::numeric_limits<TestType>::epsilon());
    }
  }
}

TEST_CASE("the place of each maximum in its image") {
  for (const Pool2dGeometry& g : kCases) {
    const Index in = g.images * g.size[0] * g.size[1] * g.channels, out = g.images * g.out_size[0] * g.out_size[1] * g.channels;
    const auto x = noise<float>(in, 1, 6);
    Tensor<float, 1> y({out});
    Tensor<std::uint8_t, 1> winner({out});
    Tensor<std::int64_t, 1> indices({out});
    heed::kernels::max_pool2d_forward(g, x.data(), y.data(), winner.data());
    heed::kernels::max_pool2d_indices(g, std::as_const(winner).data(), indices.data());
    reference::for_each_window(g, [&](Index n, Index oy, Index ox, Index c, Index element) {
      Index first = -1;
      reference::for_each_tap(g, n, oy, ox, c, [&](Index pixel, Index) {
        if (first < 0 && x[pixel] == y[element]) first = (pixel - c) / g.channels - n * g.size[0] * g.size[1];
      });
      REQUIRE(indices[element] == first);
    });
  }
}

TEST_CASE("windows that fit, with and without ceil mode") {
  using heed::kernels::pool2d_windows;
  CHECK(pool2d_windows(7, 2, 2, 0, 0, 1, false) == 3);
  CHECK(pool2d_windows(7, 2, 2, 0, 0, 1, true) == 4);
  CHECK(pool2d_windows(5, 3, 2, 1, 1, 1, true) == 3);
  CHECK(pool2d_windows(4, 3, 3, 1, 1, 1, true) == 2);  // a third window would start behind the image
  CHECK(pool2d_windows(2, 2, 3, 1, 1, 1, true) == 1);
  CHECK(pool2d_windows(5, 2, 1, 0, 0, 3, false) == 2);
  CHECK(pool2d_windows(2, 3, 1, 0, 0, 1, false) == 0);
  CHECK(pool2d_windows(2, 3, 1, 0, 1, 1, false) == 1);
  CHECK(pool2d_windows(4, 3, 2, 1, 0, 1, false) == 2);
  CHECK(pool2d_windows(4, 3, 2, 0, 2, 1, true) == 2);
  CHECK(pool2d_windows(4, 1, 2, 0, 1, 1, true) == 2);  // a third would start in the padding behind
}

TEST_CASE("max pooling passes NaN on and knows minus infinity") {
  const Pool2dGeometry g{1, {2, 2}, {1, 1}, 20, {2, 2}, {2, 2}, {0, 0}, {1, 1}, {0, 0}};
  for (int where = 0; where < 4; ++where) {
    Tensor<float, 1> x({80}), y({20});
    for (Index c = 0; c < 20; ++c) x[where * 20 + c] = std::numeric_limits<float>::quiet_NaN();
    heed::kernels::max_pool2d_forward(g, x.data(), y.data(), static_cast<std::uint8_t*>(nullptr));
    for (Index c = 0; c < 20; ++c) CHECK(std::isnan(y[c]));
  }
  // Windows 2, 3 and 4 wide, whole and clipped, with and without winners; the winner is the first maximum of the others.
  for (Index kernel : {1, 2, 3})
    for (Index where = 0; where < 25; ++where) {
      const Pool2dGeometry many = geometry(1, 5, 5, 3, kernel, 1, 1, 1);
      auto holed = noise<float>(75, 1, 6);
      holed[where * 3 + 1] = std::numeric_limits<float>::quiet_NaN();
      const Index out = many.out_size[0] * many.out_size[1] * 3;
      Tensor<float, 1> kept({out}), plain({out});
      Tensor<std::uint8_t, 1> places({out});
      heed::kernels::max_pool2d_forward(many, holed.data(), kept.data(), places.data());
      heed::kernels::max_pool2d_forward(many, holed.data(), plain.data(), static_cast<std::uint8_t*>(nullptr));
      reference::for_each_window(many, [&](Index n, Index oy, Index ox, Index c, Index element) {
        bool nan = false;
        Index first = -1, tap_of_first = -1;
        reference::for_each_tap(many, n, oy, ox, c, [&](Index pixel, Index tap) {
          if (std::isnan(holed[pixel]))
            nan = true;
          else if (first < 0 || holed[pixel] > holed[first])
            first = pixel, tap_of_first = tap;
        });
        REQUIRE(std::isnan(kept[element]) == nan);
        REQUIRE(std::isnan(plain[element]) == nan);
        if (first >= 0) REQUIRE(places[element] == tap_of_first);
        if (first >= 0 && !nan) REQUIRE(kept[element] == holed[first]);
      });
    }
  Tensor<float, 1> x({80}), y({20});
  Tensor<std::uint8_t, 1> winner({20});
  x.fill(-std::numeric_limits<float>::infinity());
  heed::kernels::max_pool2d_forward(g, x.data(), y.data(), winner.data());
  CHECK(y[3] == -std::numeric_limits<float>::infinity());
  CHECK(winner[3] == 0);
  for (Index c = 0; c < 20; ++c) x[40 + c] = -5;
  heed::kernels::max_pool2d_forward(g, x.data(), y.data(), winner.data());
  CHECK(y[3] == -5);
  CHECK(winner[3] == 2);
}

TEST_CASE("disjoint windows between whose taps the image lies have won nothing") {
  // The rows of the one window lie beside the image; of the others the first row and column of windows do, and the last row.
  for (const Pool2dGeometry& g : {geometry(1, 2, 6, 3, 2, 7, 1, 3), geometry(1, 3, 7, 3, 1, 5, 5, 3)}) {
    INFO(g.size[0] << 'x' << g.size[1]);
    REQUIRE(g.disjoint());
    const Index in = g.size[0] * g.size[1] * 3, out = g.out_size[0] * g.out_size[1] * 3, room = 64;
    const auto x = noise<float>(in, 1, 6), dy = noise<float>(out, 2, 64);
    Tensor<float, 1> y({out}), dx({in + 2 * room}), dx_expected({in});
    Tensor<std::uint8_t, 1> winner({out}), winner_expected({out});
    dx.fill(99);
    heed::kernels::max_pool2d_forward(g, x.data(), y.data(), winner.data());
    heed::kernels::max_pool2d_backward(g, dy.data(), std::as_const(winner).data(), dx.data() + room);
    reference::max_pool2d(g, x.data(), dy.data(), y.data(), winner_expected.data(), dx_expected.data());
    for (Index i = 0; i < dx.size(); ++i) REQUIRE(dx[i] == (i < room || i >= in + room ? 99 : dx_expected[i - room]));
  }
}

TEST_CASE("pooling gives the same bits for any number of threads") {
  const Pool2dGeometry g = geometry(20, 15, 15, 24, 2, 2, 1, 1);
  const Index in = 20 * 15 * 15 * 24, out = 20 * g.out_size[0] * g.out_size[1] * 24;
  const auto x = noise<float>(in, 1, 1000), dy = noise<float>(out, 2, 1000);
  Tensor<float, 1> dx[2], average[2];
  for (int i = 0; i < 2; ++i) {
    heed::ThreadScope scope(1 + 3 * i);
    Tensor<float, 1> y({out});
    Tensor<std::uint8_t, 1> winner({out});
    dx[i].resize({in}), average[i].resize({in});
    heed::kernels::max_pool2d_forward(g, x.data(), y.data(), winner.data());
    heed::kernels::max_pool2d_backward(g, dy.data(), std::as_const(winner).data(), dx[i].data());
    heed::kernels::avg_pool2d_backward(g, {}, dy.data(), average[i].data());
  }
  CHECK(std::equal(dx[0].data(), dx[0].data() + in, dx[1].data()));
  CHECK(std::equal(average[0].data(), average[0].data() + in, average[1].data()));
}

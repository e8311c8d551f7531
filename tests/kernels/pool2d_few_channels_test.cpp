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
using heed::kernels::PoolDivisor;

namespace {

/// Sixteenths, of which sums are exact.
template <class T>
Tensor<T, 1> noise(Index count, std::uint64_t stream, std::uint64_t levels) {
  Tensor<T, 1> result({count});
  const heed::CounterRandom random({stream});
  for (Index i = 0; i < count; ++i)
    result[i] = static_cast<T>(random.below(static_cast<std::uint64_t>(i), levels)) / static_cast<T>(16) - 3;
  return result;
}

/// Any geometry that makes a window, with few images, or with so many that a range of rows is shared by threads.
Pool2dGeometry any_geometry(std::uint64_t number) {
  const heed::CounterRandom random({number});
  std::uint64_t next = 0;
  const auto between = [&](Index least, Index most) {
    return least + static_cast<Index>(random.below(next++, static_cast<std::uint64_t>(most - least + 1)));
  };
  for (;;) {
    Pool2dGeometry g{between(1, 3), {between(1, 12), between(1, 40)}, {}, between(1, 8), {between(1, 5), between(1, 5)},
        {between(1, 4), between(1, 4)}, {between(0, 2), between(0, 2)}, {between(1, 2), between(1, 2)}, {between(0, 2), between(0, 2)}};
    if (between(0, 5) == 0) g.size[1] = between(250, 600);  // more than is gathered at once
    if (between(0, 5) == 0) g.kernel[1] = between(9, 20);
    if (between(0, 20) == 0)
      g.size[0] = 40, g.kernel[0] = between(10, 16), g.kernel[1] = between(10, 16);  // the taps of few windows are too many to be gathered
    const bool ceil_mode = between(0, 1) == 1;
    for (int axis = 0; axis < 2; ++axis)
      g.out_size[axis] = heed::kernels::pool2d_windows(
          g.size[axis], g.kernel[axis], g.stride[axis], g.padding[axis], g.padding_end[axis], g.dilation[axis], ceil_mode);
    if (g.out_size[0] > 0 && g.out_size[1] > 0) return g;
  }
}

struct Sizes {
  Index in, out;
  explicit Sizes(const Pool2dGeometry& g)
      : in(g.images * g.size[0] * g.size[1] * g.channels), out(g.images * g.out_size[0] * g.out_size[1] * g.channels) {}
};

std::string words(const Pool2dGeometry& g) {
  std::string text;
  for (const Index n : {g.images, g.size[0], g.size[1], g.channels, g.kernel[0], g.kernel[1], g.stride[0], g.stride[1], g.padding[0],
           g.padding[1], g.dilation[0], g.dilation[1], g.padding_end[0], g.padding_end[1]})
    text += std::to_string(n) + ' ';
  return text;
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

}  // namespace

TEMPLATE_TEST_CASE("pixels of few channels are pooled as the windows are written", "", float, double) {
  for (std::uint64_t number = 0; number < 400; ++number) {
    const Pool2dGeometry g = any_geometry(number);
    INFO(number << ": " << words(g));
    const Sizes size(g);
    reference::poison_pool(1 << 16);
    const auto x = noise<TestType>(size.in, number, 6), dy = noise<TestType>(size.out, number + 1000, 64);
    const Index room = 32;  // whose numbers stay
    Tensor<TestType, 1> y({size.out + room}), plain({size.out + room}), dx({size.in + 2 * room}), y_expected({size.out}),
        dx_expected({size.in});
    Tensor<std::uint8_t, 1> winner({size.out}), winner_expected({size.out});
    y.fill(TestType(99)), plain.fill(TestType(99)), dx.fill(TestType(99));
    heed::kernels::max_pool2d_forward(g, x.data(), y.data(), winner.data());
    heed::kernels::max_pool2d_forward(g, x.data(), plain.data(), static_cast<std::uint8_t*>(nullptr));
    heed::kernels::max_pool2d_backward(g, dy.data(), std::as_const(winner).data(), dx.data() + room);
    reference::max_pool2d(g, x.data(), dy.data(), y_expected.data(), winner_expected.data(), dx_expected.data());
    bool same = true;
    for (Index i = 0; i < size.out; ++i) {
      same = same && y[i] == y_expected[i] && plain[i] == y_expected[i];
      if (y_expected[i] > -std::numeric_limits<TestType>::infinity())
        same = same && winner[i] == winner_expected[i];  // of nothing, nothing has won
    }
    for (Index i = 0; i < size.in; ++i) same = same && dx[room + i] == dx_expected[i];
    for (Index i = 0; i < room; ++i)
      same = same && y[size.out + i] == 99 && plain[size.out + i] == 99 && dx[i] == 99 && dx[room + size.in + i] == 99;
    REQUIRE(same);

    const PoolDivisor divisor{number % 2 == 0, number % 5 == 0 ? g.taps() + 1 : 0};
    dx.fill(TestType(99)), y.fill(TestType(99));
    heed::kernels::avg_pool2d_forward(g, divisor, x.data(), y.data());
    heed::kernels::avg_pool2d_backward(g, divisor, dy.data(), dx.data() + room);
    reference::avg_pool2d(g, divisor, x.data(), dy.data(), y_expected.data(), dx_expected.data());
    double largest = 0;
    for (Index i = 0; i < size.out; ++i) largest = std::max(largest, static_cast<double>(std::abs(y[i] - y_expected[i])));
    for (Index i = 0; i < size.in; ++i) largest = std::max(largest, static_cast<double>(std::abs(dx[room + i] - dx_expected[i])));
    REQUIRE(largest < 200 * static_cast<double>(std::numeric_limits<TestType>::epsilon()));
    for (Index i = 0; i < room; ++i) REQUIRE((y[size.out + i] == 99 && dx[i] == 99 && dx[room + size.in + i] == 99));
  }
}

TEST_CASE("pooling of few channels has the same bits for any number of threads, and of an image alone") {
  for (Index channels : {1, 2, 3, 5, 20})
    for (Index kernel : {2, 3}) {
      INFO(channels << " channels, kernel " << kernel);
      Pool2dGeometry g{40, {27, 31}, {}, channels, {kernel, kernel}, {2, 2}, {1, 1}, {1, 1}, {1, 1}};
      for (int axis = 0; axis < 2; ++axis) g.out_size[axis] = heed::kernels::pool2d_windows(g.size[axis], kernel, 2, 1, 1, 1, false);
      const Sizes size(g);
      const heed::CounterRandom random({7});
      Tensor<float, 1> x({size.in}), dy({size.out});
      for (Index i = 0; i < size.in; ++i) x[i] = static_cast<float>(random.normal(static_cast<std::uint64_t>(i)));
      for (Index i = 0; i < size.out; ++i) dy[i] = static_cast<float>(random.normal(static_cast<std::uint64_t>(size.in + i)));
      Tensor<float, 1> y({size.out}), dx({size.in}), average({size.in}), first_dx, first_average, first_y;
      Tensor<std::uint8_t, 1> winner({size.out});
      const auto run = [&](const Pool2dGeometry& part, Index in, Index out) {
        heed::kernels::max_pool2d_forward(part, x.data() + in, y.data() + out, winner.data() + out);
        heed::kernels::max_pool2d_backward(part, dy.data() + out, std::as_const(winner).data() + out, dx.data() + in);
        heed::kernels::avg_pool2d_forward(part, {}, x.data() + in, y.data() + out);
        heed::kernels::avg_pool2d_backward(part, {}, dy.data() + out, average.data() + in);
      };
      for (int threads : {1, 2, 3, 7, 16}) {
        heed::ThreadScope scope(threads);
        run(g, 0, 0);
        if (threads == 1) first_dx = dx, first_average = average, first_y = y;
        REQUIRE(largest_difference(dx, first_dx) == 0);
        REQUIRE(largest_difference(average, first_average) == 0);
        REQUIRE(largest_difference(y, first_y) == 0);
      }
      Pool2dGeometry one = g;
      one.images = 1;
      for (Index n = 0; n < g.images; ++n) run(one, n * size.in / g.images, n * size.out / g.images);
      REQUIRE(largest_difference(dx, first_dx) == 0);
      REQUIRE(largest_difference(average, first_average) == 0);
      REQUIRE(largest_difference(y, first_y) == 0);
    }
}

// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <cstring>
#include <limits>
#include <vector>

#include <heed/kernels/softmax.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;

namespace {

template <class T>
void check(Index rows, Index width, double range, double tolerance) {
  INFO(rows << " rows of " << width << " in ±" << range);
  const auto x = random_tensor<T, 2>({rows, width}, 1, -range, range), dy = random_tensor<T, 2>({rows, width}, 2);
  Tensor<T, 2> y({rows, width}), dx({rows, width});
  kernels::softmax_forward(rows, width, x.data(), y.data());
  kernels::softmax_backward(rows, width, y.data(), dy.data(), dx.data());
  double worst = 0;
  for (Index i = 0; i < rows; ++i) {
    std::vector<long double> e(static_cast<std::size_t>(width));
    long double sum = 0, mean = 0;
    for (Index j = 0; j < width; ++j)
      sum += e[static_cast<std::size_t>(j)] = std::exp(static_cast<long double>(x(i, j)) - static_cast<long double>(range));
    for (Index j = 0; j < width; ++j) mean += e[static_cast<std::size_t>(j)] / sum * static_cast<long double>(dy(i, j));
    for (Index j = 0; j < width; ++j) {
      const long double p = e[static_cast<std::size_t>(j)] / sum;
      worst = std::max({worst, std::abs(static_cast<double>(y(i, j) - p)),
          std::abs(static_cast<double>(dx(i, j) - p * (static_cast<long double>(dy(i, j)) - mean)))});
    }
  }
  CHECK(worst < tolerance);
  auto in_place = x, d_in_place = dy;
  kernels::softmax_forward(rows, width, in_place.data(), in_place.data());
  kernels::softmax_backward(rows, width, y.data(), d_in_place.data(), d_in_place.data());
  CHECK(same_bits(in_place, y));
  CHECK(same_bits(d_in_place, dx));
}

}  // namespace

TEST_CASE("softmax against the formula over awkward sizes") {
  for (Index rows : {1, 3, 200})
    for (Index width : {1, 2, 7, 8, 15, 16, 17, 33, 100, 1000})
      for (double range : {1.0, 10.0, 80.0}) {
        if (rows * width > 20000) continue;
        // The argument x - max is rounded to 6e-8 of itself; beyond some 10 its exponential is too small to show it.
        check<float>(rows, width, range, 1e-6);
        check<double>(rows, width, range, 2e-15);
      }
}

TEST_CASE("huge scores, masked scores, not a number") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[] = {3e38f, -3e38f, 0.0f, 3e38f, 1.0f, -infinity, 1.0f, -infinity, 1.0f, std::nanf(""), 2.0f, 3.0f};
  float y[12];
  kernels::softmax_forward(3, 4, x, y);
  const float expected[] = {0.5f, 0, 0, 0.5f, 0.5f, 0, 0.5f, 0};
  for (int i = 0; i < 8; ++i) CHECK(y[i] == expected[i]);
  for (int i = 8; i < 12; ++i) CHECK(std::isnan(y[i]));
}

TEST_CASE("a row with NaN is NaN, whatever the payload") {
  for (std::uint32_t bits : {0x7fc00000u, 0x7fc00001u, 0x7fc000ffu, 0x7fc001ffu, 0x7f800001u, 0x7fffffffu, 0xffc00001u, 0xffffffffu})
    for (Index width : {1, 5, 40})
      for (Index where = 0; where < width; ++where) {
        INFO(std::hex << bits << std::dec << " at " << where << " of " << width);
        auto x = random_tensor<float, 2>({1, width}, 7);
        std::memcpy(&x[where], &bits, sizeof bits);
        Tensor<float, 2> y({1, width});
        kernels::softmax_forward(1, width, x.data(), y.data());
        for (Index j = 0; j < width; ++j) REQUIRE(std::isnan(y[j]));
      }
}

TEST_CASE("a row far below zero is an ordinary row") {
  for (Index width : {1, 3, 16, 19}) {
    Tensor<float, 2> x({1, width}), y({1, width});
    x.fill(-1000);
    kernels::softmax_forward(1, width, x.data(), y.data());
    for (Index j = 0; j < width; ++j) CHECK(y[j] == Approx(1.0 / static_cast<double>(width)));
  }
}

TEST_CASE("the softmax of a row does not depend on threads or on other rows") {
  const auto x = random_tensor<float, 2>({500, 77}, 1);
  const auto run = [&](int threads, Index first, Index rows) {
    ThreadScope limit(threads);
    Tensor<float, 2> y({rows, 77});
    kernels::softmax_forward(rows, 77, x.data() + first * 77, y.data());
    return y;
  };
  const auto all = run(1, 0, 500);
  CHECK(same_bits(run(2, 0, 500), all));
  CHECK(same_bits(run(7, 0, 500), all));
  CHECK(same_bits(run(1, 123, 1), all.slice(123, 124)));
}

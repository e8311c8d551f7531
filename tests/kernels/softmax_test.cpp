// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "extreme_inputs.hpp"
#include "reference/random_tensor.hpp"

#include <cstring>
#include <limits>
#include <vector>

#include <heed/kernels/softmax.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;

namespace {

/// Largest differences from the formulas, of softmax and of its logarithm, forward and backward.
template <class T>
void check(const kernels::SoftmaxShape& shape, double range, double tolerance) {
  const auto [outer, width, inner] = shape;
  INFO(outer << " x " << width << " x " << inner << " in ±" << range);
  const auto x = random_tensor<T, 3>({outer, width, inner}, 1, -range, range), dy = random_tensor<T, 3>({outer, width, inner}, 2);
  Tensor<T, 3> y(x.shape()), dx(x.shape()), log_y(x.shape()), log_dx(x.shape());
  kernels::softmax_forward(shape, x.data(), y.data());
  kernels::softmax_backward(shape, y.data(), dy.data(), dx.data());
  kernels::log_softmax_forward(shape, x.data(), log_y.data());
  kernels::log_softmax_backward(shape, log_y.data(), dy.data(), log_dx.data());
  double worst = 0, log_worst = 0;
  for (Index i = 0; i < outer; ++i)
    for (Index k = 0; k < inner; ++k) {
      long double sum = 0, mean = 0, total = 0;
      const auto e = [&](Index j) { return std::exp(static_cast<long double>(x(i, j, k)) - static_cast<long double>(range)); };
      for (Index j = 0; j < width; ++j) sum += e(j);
      for (Index j = 0; j < width; ++j) mean += e(j) / sum * static_cast<long double>(dy(i, j, k)), total += dy(i, j, k);
      for (Index j = 0; j < width; ++j) {
        const long double p = e(j) / sum, d = dy(i, j, k);
        worst =
            std::max({worst, std::abs(static_cast<double>(y(i, j, k) - p)), std::abs(static_cast<double>(dx(i, j, k) - p * (d - mean)))});
        // Beside logarithms of up to 2 range and sums of the whole row.
        log_worst = std::max({log_worst, std::abs(static_cast<double>(log_y(i, j, k) - std::log(p))) / (1 + range),
            std::abs(static_cast<double>(log_dx(i, j, k) - (d - p * total))) / static_cast<double>(1 + std::abs(total))});
      }
    }
  CHECK(worst < tolerance);
  CHECK(log_worst < (range > 20 ? 10 : 1) * tolerance);
  auto in_place = x, d_in_place = dy, y_in_place = y, log_in_place = log_y;
  kernels::softmax_forward(shape, in_place.data(), in_place.data());
  kernels::softmax_backward(shape, y.data(), d_in_place.data(), d_in_place.data());
  kernels::softmax_backward(shape, y_in_place.data(), dy.data(), y_in_place.data());
  kernels::log_softmax_backward(shape, log_in_place.data(), dy.data(), log_in_place.data());
  CHECK(same_bits(in_place, y));
  CHECK(same_bits(d_in_place, dx));
  CHECK(same_bits(y_in_place, dx));
  CHECK(same_bits(log_in_place, log_dx));
  Tensor<T, 3> again(x.shape()), log_again(x.shape());
  kernels::softmax_backward_again(shape, x.data(), dy.data(), again.data());
  kernels::log_softmax_backward_again(shape, x.data(), dy.data(), log_again.data());
  CHECK(same_bits(again, dx));
  CHECK(same_bits(log_again, log_dx));
}

/// All that softmax and its logarithm make of x; the gradients by x, which layers use, have the bits of those by y.
template <class T>
struct Extreme {
  Tensor<T, 2> y, dx, log_y, log_dx;

  Extreme(const kernels::SoftmaxShape& shape, const Tensor<T, 2>& x, const Tensor<T, 2>& dy)
      : y(x.shape()), dx(x.shape()), log_y(x.shape()), log_dx(x.shape()) {
    kernels::softmax_forward(shape, x.data(), y.data());
    kernels::softmax_backward(shape, y.data(), dy.data(), dx.data());
    kernels::log_softmax_forward(shape, x.data(), log_y.data());
    kernels::log_softmax_backward(shape, log_y.data(), dy.data(), log_dx.data());
    Tensor<T, 2> again(x.shape()), log_again(x.shape());
    kernels::softmax_backward_again(shape, x.data(), dy.data(), again.data());
    kernels::log_softmax_backward_again(shape, x.data(), dy.data(), log_again.data());
    CHECK(same_bits(again, dx));
    CHECK(same_bits(log_again, log_dx));
  }
};

template <class T>
Tensor<T, 2> transposed(const Tensor<T, 2>& x) {
  Tensor<T, 2> y({x.size(1), x.size(0)});
  y.matrix() = x.matrix().transpose();
  return y;
}

}  // namespace

TEST_CASE("softmax and its logarithm against the formulas over awkward sizes") {
  for (Index rows : {1, 3, 200})
    for (Index width : {1, 2, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 1000})
      for (double range : {1.0, 10.0, 80.0}) {
        if (rows * width > 20000) continue;
        // The argument x - max is rounded to 6e-8 of itself; beyond some 10 its exponential is too small to show it.
        check<float>({rows, width}, range, 1e-6);
        check<double>({rows, width}, range, 2e-15);
      }
}

TEST_CASE("softmax along an axis that is not the last") {
  for (Index outer : {1, 3})
    for (Index width : {1, 2, 9, 40})
      for (Index inner : {2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 130}) {
        check<float>({outer, width, inner}, 5, 1e-6);
        check<double>({outer, width, inner}, 5, 2e-15);
      }
  Tensor<float, 1> nothing;
  kernels::softmax_forward({3, 0, 4}, nothing.data(), nothing.data());
  kernels::softmax_forward({3, 4, 0}, nothing.data(), nothing.data());
}

TEST_CASE("where everything is masked weights and gradients are zero") {
  const float infinity = std::numeric_limits<float>::infinity();
  // Row 1 of three; as columns, column 1 of three.
  for (Index inner : {1, 3})
    for (Index width : {1, 5, 16, 40}) {
      INFO(width << " x " << inner);
      const kernels::SoftmaxShape shape{inner == 1 ? 3 : 1, width, inner};
      const auto masked = [&](Index i) { return (inner == 1 ? i / width : i % inner) == 1; };
      auto x = random_tensor<float, 1>({3 * width}, 1);
      const auto dy = random_tensor<float, 1>({3 * width}, 2);
      for (Index i = 0; i < x.size(); ++i)
        if (masked(i)) x[i] = -infinity;
      Tensor<float, 1> y(x.shape()), dx(x.shape()), log_y(x.shape()), log_dx(x.shape());
      kernels::softmax_forward(shape, x.data(), y.data());
      kernels::softmax_backward(shape, y.data(), dy.data(), dx.data());
      kernels::log_softmax_forward(shape, x.data(), log_y.data());
      kernels::log_softmax_backward(shape, log_y.data(), dy.data(), log_dx.data());
      Tensor<float, 1> again(x.shape());
      kernels::softmax_backward_again(shape, x.data(), dy.data(), again.data());
      CHECK(same_bits(again, dx));
      for (Index i = 0; i < x.size(); ++i) {
        REQUIRE(std::isfinite(dx[i]));
        REQUIRE(std::isfinite(log_dx[i]));
        if (masked(i))
          REQUIRE((y[i] == 0 && dx[i] == 0 && log_y[i] == -infinity && log_dx[i] == 0));
        else
          REQUIRE((y[i] > 0 && std::isfinite(log_y[i])));
      }
    }
}

TEST_CASE("huge scores, masked scores, not a number") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float x[] = {3e38f, -3e38f, 0.0f, 3e38f, 1.0f, -infinity, 1.0f, -infinity, 1.0f, std::nanf(""), 2.0f, 3.0f};
  float y[12];
  kernels::softmax_forward({3, 4}, x, y);
  const float expected[] = {0.5f, 0, 0, 0.5f, 0.5f, 0, 0.5f, 0};
  for (int i = 0; i < 8; ++i) CHECK(y[i] == expected[i]);
  for (int i = 8; i < 12; ++i) CHECK(std::isnan(y[i]));
  kernels::log_softmax_forward({3, 4}, x, y);
  CHECK(y[0] == Approx(-std::log(2)));
  CHECK(y[1] == -infinity);  // -6e38 is none of float's numbers
  CHECK(y[4] == Approx(-std::log(2)));
  CHECK(y[5] == -infinity);
  for (int i = 8; i < 12; ++i) CHECK(std::isnan(y[i]));
  float columns[12];  // the same rows as columns
  for (int i = 0; i < 12; ++i) columns[i % 4 * 3 + i / 4] = x[i];
  kernels::softmax_forward({1, 4, 3}, columns, y);
  for (int i = 0; i < 12; ++i) CHECK((i % 3 == 2 ? std::isnan(y[i]) : y[i] == expected[i % 3 * 4 + i / 3]));
}

TEMPLATE_TEST_CASE("softmax and its logarithm of extreme numbers, against the formulas", "", float, double) {
  using T = TestType;
  constexpr long double kRounding = 16 * std::numeric_limits<T>::epsilon();
  for (Index width : {1, 2, 3, 5, 16, 17, 40}) {
    const auto x = extreme_rows<T>(width);
    const Index rows = x.rows();
    const auto dy = random_tensor<T, 2>({rows, width}, 2);
    const Extreme<T> as_rows({rows, width}, x, dy), as_columns({1, width, rows}, transposed(x), transposed(dy));
    for (Index r = 0; r < rows; ++r) {
      INFO(width << " numbers, row " << r);
      const ExactSoftmax<T> exact(x.data() + r * width, width);
      long double mean = 0, total = 0;
      for (Index c = 0; c < width; ++c) mean += exact.p[static_cast<std::size_t>(c)] * dy(r, c), total += dy(r, c);
      for (Index c = 0; c < width; ++c) {
        const long double p = exact.p[static_cast<std::size_t>(c)], log_p = exact.log_p[static_cast<std::size_t>(c)];
        for (bool columns : {false, true}) {
          const Extreme<T>& found = columns ? as_columns : as_rows;
          const auto at = [&](const Tensor<T, 2>& values) { return columns ? values(c, r) : values(r, c); };
          REQUIRE(is_near(at(found.y), p, kRounding));
          REQUIRE(is_near(at(found.dx), p * (dy(r, c) - mean), kRounding));
          REQUIRE(is_near(at(found.log_y), log_p, kRounding * (1 - log_p)));
          REQUIRE(is_near(at(found.log_dx), dy(r, c) - p * total, kRounding * static_cast<long double>(width)));
        }
      }
    }
  }
}

TEST_CASE("a row with NaN is NaN, whatever the payload") {
  for (std::uint32_t bits : {0x7fc00000u, 0x7fc00001u, 0x7fc000ffu, 0x7fc001ffu, 0x7f800001u, 0x7fffffffu, 0xffc00001u, 0xffffffffu})
    for (Index width : {1, 5, 16, 20, 40})
      for (Index where = 0; where < width; ++where) {
        INFO(std::hex << bits << std::dec << " at " << where << " of " << width);
        auto x = random_tensor<float, 2>({1, width}, 7);
        std::memcpy(&x[where], &bits, sizeof bits);
        Tensor<float, 2> y({1, width});
        kernels::softmax_forward({1, width}, x.data(), y.data());
        for (Index j = 0; j < width; ++j) REQUIRE(std::isnan(y[j]));
        const auto dy = random_tensor<float, 2>({1, width}, 8);
        kernels::softmax_backward_again({1, width}, x.data(), dy.data(), y.data());
        for (Index j = 0; j < width; ++j) REQUIRE(std::isnan(y[j]));
      }
}

TEST_CASE("a row far below zero is an ordinary row") {
  for (Index width : {1, 3, 16, 19}) {
    Tensor<float, 2> x({1, width}), y({1, width});
    x.fill(-1000);
    kernels::softmax_forward({1, width}, x.data(), y.data());
    for (Index j = 0; j < width; ++j) CHECK(y[j] == Approx(1.0 / static_cast<double>(width)));
  }
}

TEST_CASE("the largest number is found wherever it stands") {
  for (Index width : {2, 16, 17, 20, 32, 33, 70})
    for (Index where = 0; where < width; ++where) {
      Tensor<float, 2> x({1, width}), y({1, width});
      x[where] = 200;  // e^200 is no float
      kernels::softmax_forward({1, width}, x.data(), y.data());
      for (Index j = 0; j < width; ++j) REQUIRE(y[j] == (j == where ? 1 : 0));
    }
}

TEST_CASE("the softmax of a row does not depend on threads or on other rows") {
  const auto x = random_tensor<float, 2>({500, 77}, 1);
  const auto run = [&](int threads, Index first, Index rows) {
    ThreadScope limit(threads);
    Tensor<float, 2> y({rows, 77});
    kernels::softmax_forward({rows, 77}, x.data() + first * 77, y.data());
    return y;
  };
  const auto all = run(1, 0, 500);
  CHECK(same_bits(run(2, 0, 500), all));
  CHECK(same_bits(run(7, 0, 500), all));
  CHECK(same_bits(run(1, 123, 1), all.slice(123, 124)));
}

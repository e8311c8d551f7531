// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_norm_reference.hpp"
#include "reference/random_tensor.hpp"

#include <heed/kernels/layer_norm.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;

namespace {

/// |a - b| relative to the largest |b|, or to `scale` if that is larger.
template <class T>
double relative_error(const Tensor<T, 1>& a, const std::vector<long double>& b, T scale = T(1e-3)) {
  long double worst = 0, largest = scale;
  for (Index i = 0; i < a.size(); ++i) {
    const long double expected = b[static_cast<std::size_t>(i)], error = std::abs(static_cast<long double>(a[i]) - expected);
    worst = std::isnan(error) ? HUGE_VALL : std::max(worst, error);
    largest = std::max(largest, std::abs(expected));
  }
  return static_cast<double>(worst / largest);
}

struct Result {
  double y, dx, d_weight, d_bias;
};

template <class T>
Result errors(Index rows, Index width, double offset = 0, double spread = 1, bool weight = true, bool bias = true, bool centered = true) {
  auto x = random_tensor<T, 1>({rows * width}, 1, offset - spread, offset + spread);
  const auto w = random_tensor<T, 1>({width}, 2, 0.5, 2), b = random_tensor<T, 1>({width}, 3), dy = random_tensor<T, 1>({rows * width}, 4);
  const double eps = 1e-5;
  const kernels::LayerNormShape<T> shape{rows, width, weight ? w.data() : nullptr, bias ? b.data() : nullptr, eps, centered};

  Tensor<T, 1> y({rows * width}), dx({rows * width}), means({rows}), inv_std({rows}), d_weight({width}), d_bias({width});
  T* mean = centered ? means.data() : nullptr;
  kernels::layer_norm_forward(shape, x.data(), y.data(), mean, inv_std.data());
  kernels::layer_norm_backward(shape, x.data(), dy.data(), mean, inv_std.data(), dx.data(), false, d_weight.data(), d_bias.data());
  const auto r = reference::layer_norm(rows, width, x.data(), shape.weight, shape.bias, eps, dy.data(), centered);

  // A row alone is the row among others.
  for (Index i = 0; i < rows; ++i) {
    Tensor<T, 1> row({width}), center({1}), scale({1});
    kernels::layer_norm_forward(
        {1, width, shape.weight, shape.bias, eps, centered}, x.data() + i * width, row.data(), center.data(), scale.data());
    for (Index j = 0; j < width; ++j) REQUIRE(row[j] == y[i * width + j]);
    REQUIRE(scale[0] == inv_std[i]);
    if (centered) REQUIRE(center[0] == means[i]);
  }

  // The variants: no cache, in place, nothing but dx, dx added, one of the two parameter gradients.
  auto again = x;
  kernels::layer_norm_forward(shape, again.data(), again.data(), static_cast<T*>(nullptr), static_cast<T*>(nullptr));
  CHECK(same_bits(again, y));
  auto added = dy;
  Tensor<T, 1> only_bias({width});
  kernels::layer_norm_backward(
      shape, x.data(), dy.data(), mean, inv_std.data(), added.data(), true, static_cast<T*>(nullptr), only_bias.data());
  CHECK(same_bits(only_bias, d_bias));
  for (Index i = 0; i < dx.size(); ++i) REQUIRE(added[i] == Approx(dy[i] + dx[i]).margin(1e-5));
  kernels::layer_norm_backward(
      shape, x.data(), dy.data(), mean, inv_std.data(), added.data(), false, static_cast<T*>(nullptr), static_cast<T*>(nullptr));
  CHECK(same_bits(added, dx));
  kernels::layer_norm_backward(shape, x.data(), dy.data(), mean, inv_std.data(), added.data(), false, d_weight.data(), d_bias.data());
  for (Index j = 0; j < width; ++j) REQUIRE(d_bias[j] == Approx(2 * only_bias[j]).margin(1e-5));  // parameter gradients add
  for (Index j = 0; j < width; ++j) d_weight[j] /= 2, d_bias[j] /= 2;
  // dx is a difference of terms as large as inv_std dy weight, and may be much smaller than they are (two features).
  const T terms = *std::max_element(inv_std.data(), inv_std.data() + rows);
  return {relative_error(y, r.y), relative_error(dx, r.dx, terms), relative_error(d_weight, r.d_weight), relative_error(d_bias, r.d_bias)};
}

}  // namespace

TEST_CASE("layer norm against the reference over awkward sizes") {
  for (Index rows : {1, 2, 37, 300})
    for (Index width : {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 65, 200, 1030}) {
      if (rows * width > 70000) continue;
      INFO(rows << " rows of " << width);
      const Result f = errors<float>(rows, width), d = errors<double>(rows, width);
      // Sums of up to 300 terms in float: some tens of roundings of 6e-8. Two features may lie so close to each other that the rounding of
      // their mean counts.
      CHECK(f.y < (width == 2 ? 2e-5 : 2e-6));
      CHECK(f.dx < (width == 2 ? 2e-5 : 2e-6));
      CHECK(f.d_weight < 5e-6);
      CHECK(f.d_bias < 5e-6);
      CHECK(d.y < 1e-14);
      CHECK(d.dx < 1e-13);
      CHECK(d.d_weight < 1e-14);
      CHECK(d.d_bias < 1e-14);
    }
}

TEMPLATE_TEST_CASE("layer norm with one of weight and bias, in whole vectors and behind them", "", float, double) {
  for (const Index width : {9, 48, 100})
    for (const bool weight : {false, true}) {
      const Result r = errors<TestType>(5, width, 0, 1, weight, !weight);
      CHECK(r.y < (std::is_same_v<TestType, float> ? 1e-6 : 2e-15));
    }
}

TEST_CASE("layer norm in place, of more rows than go through its passes together") {
  for (const Index width : {5, 64, 100, 1100}) {
    const Index rows = 37;
    const auto x = reference::random_tensor<float, 1>({rows * width}, 1), weight = reference::random_tensor<float, 1>({width}, 2);
    const kernels::LayerNormShape<float> shape{rows, width, weight.data(), weight.data(), 1e-5};
    Tensor<float, 1> y({rows * width}), in_place(x);
    kernels::layer_norm_forward<float>(shape, x.data(), y.data(), nullptr, nullptr);
    kernels::layer_norm_forward<float>(shape, in_place.data(), in_place.data(), nullptr, nullptr);
    CHECK(reference::same_bits(in_place, y));
  }
}

TEST_CASE("layer norm without weight or bias") {
  for (bool weight : {false, true})
    for (bool bias : {false, true}) {
      const Result f = errors<float>(5, 19, 0, 1, weight, bias);
      CHECK(f.y < 2e-6);
      CHECK(f.dx < 2e-6);
    }
}

TEST_CASE("RMS norm, which takes no mean off, against the reference") {
  for (Index rows : {1, 37})
    for (Index width : {1, 2, 7, 8, 15, 16, 17, 33, 200})
      for (double offset : {0.0, 3.0}) {
        INFO(rows << " rows of " << width << " around " << offset);
        const Result f = errors<float>(rows, width, offset, 1, true, true, false),
                     d = errors<double>(rows, width, offset, 1, true, true, false);
        CHECK(f.y < 2e-6);
        CHECK(f.dx < 2e-6);
        CHECK(f.d_weight < 5e-6);
        CHECK(d.y < 1e-14);
        CHECK(d.dx < 1e-14);
        CHECK(d.d_weight < 1e-14);
      }
}

TEST_CASE("rows far from zero keep the digits that float has left") {
  // Around 1e4, floats are 1e-3 apart: x itself is exact here, so all error is ours. The mean is rounded to half such a step.
  const Result f = errors<float>(20, 513, 1e4, 1);
  CHECK(f.y < 2e-3);
  const Result d = errors<double>(20, 513, 1e6, 1);
  CHECK(d.y < 1e-9);
  CHECK(d.dx < 1e-9);
  // Equal numbers: the variance is 0 and the output 0, whatever the offset.
  const Result equal = errors<float>(3, 48, 12345.678, 0);
  CHECK(equal.y < 1e-2);
}

TEST_CASE("what the first sum of a long row loses is put right in mean and variance") {
  // Whole numbers around 2e6 are exact in float, their sums are not: the first mean is off by some hundredths and more.
  constexpr Index width = 6000;
  Tensor<float, 1> x({width}), y({width}), mean({1}), inv_std({1});
  for (Index j = 0; j < width; ++j) x[j] = 2000001 + static_cast<float>(j % 2);
  kernels::layer_norm_forward<float>({1, width, nullptr, nullptr, 1e-5}, x.data(), y.data(), mean.data(), inv_std.data());
  CHECK(mean[0] == 2000001.5f);
  CHECK(inv_std[0] == Approx(1 / std::sqrt(0.25 + 1e-5)).epsilon(1e-5));
}

TEST_CASE("the rounded mean of a narrow row is put right in its variance") {
  // Whole numbers that float just tells apart: their mean, a half beside them, it cannot hold.
  for (Index width : {2, 4, 8, 10}) {
    INFO(width);
    Tensor<float, 1> x({width}), y({width}), mean({1}), inv_std({1});
    for (Index j = 0; j < width; ++j) x[j] = 16000001 + static_cast<float>(j % 2);
    kernels::layer_norm_forward<float>({1, width, nullptr, nullptr, 1e-5}, x.data(), y.data(), mean.data(), inv_std.data());
    CHECK(inv_std[0] == Approx(1 / std::sqrt(0.25 + 1e-5)).epsilon(1e-5));
  }
}

TEST_CASE("layer norm runs on any number-like type") {
  // 3 rows of 5 in a number-like type; the double path must agree in value.
  const auto x = random_tensor<double, 1>({15}, 1);
  Tensor<long double, 1> wide({15}), y_wide({15});
  for (Index i = 0; i < 15; ++i) wide[i] = x[i];
  kernels::layer_norm_forward<long double>({3, 5, nullptr, nullptr, 1e-5}, wide.data(), y_wide.data(), nullptr, nullptr);
  Tensor<double, 1> y({15});
  kernels::layer_norm_forward<double>({3, 5, nullptr, nullptr, 1e-5}, x.data(), y.data(), nullptr, nullptr);
  CHECK(reference::largest_difference(y, y_wide) < 1e-15);
}

TEST_CASE("NaN in a row makes all of it NaN, with a mean taken off and without, in narrow rows and in wide ones") {
  for (bool centered : {false, true})
    for (Index width : {4, 40, 400}) {
      heed::Tensor<float, 2> x({3, width}), y({3, width});
      heed::Tensor<float, 1> mean({3}), inv_std({3});
      const heed::kernels::LayerNormShape<float> shape{3, width, nullptr, nullptr, 1e-6, centered};
      x.fill(1), x(1, 0) = std::numeric_limits<float>::quiet_NaN();
      heed::kernels::layer_norm_forward<float>(shape, x.data(), y.data(), mean.data(), inv_std.data());
      CHECK(std::isnan(inv_std[1]));
      for (Index j = 0; j < width; ++j) REQUIRE(std::isnan(y(1, j)));
      CHECK(std::isfinite(y(0, 0)));
      CHECK(std::isfinite(y(2, width - 1)));
    }
}

TEMPLATE_TEST_CASE("rows of any size are normalised, or are NaN where their squares are too large, and never zeros", "", float, double) {
  using Limits = std::numeric_limits<TestType>;
  const double largest = static_cast<double>(Limits::max_exponent10), squared = largest / 2 - 2;
  for (const Index width : {3, 4, 64, 100})
    for (const bool centered : {true, false})
      for (double power = -largest; power <= largest; power += 1) {
        const auto pattern = random_tensor<TestType, 1>({width}, static_cast<std::uint64_t>(width), -1, 1);
        const auto size = static_cast<TestType>(std::pow(10.0, power));
        Tensor<TestType, 1> x({width}), y({width}), dx({width}), mean({1}), inv_std({1});
        for (Index j = 0; j < width; ++j) x[j] = pattern[j] * size;
        const kernels::LayerNormShape<TestType> shape{1, width, nullptr, nullptr, 1e-5, centered};
        kernels::layer_norm_forward(shape, x.data(), y.data(), mean.data(), inv_std.data());
        kernels::layer_norm_backward<TestType>(
            shape, x.data(), pattern.data(), centered ? mean.data() : nullptr, inv_std.data(), dx.data(), false, nullptr, nullptr);
        const auto exact = reference::layer_norm<TestType>(1, width, x.data(), nullptr, nullptr, 1e-5, pattern.data(), centered);
        INFO(width << " numbers around 1e" << power << ", centered " << centered);
        if (power < squared) REQUIRE(relative_error(y, exact.y) < 64 * Limits::epsilon());
        for (Index j = 0; j < width; ++j) {
          REQUIRE(
              (std::isnan(y[j]) || std::abs(static_cast<double>(y[j]) - static_cast<double>(exact.y[static_cast<std::size_t>(j)])) < 1e-3));
          REQUIRE(std::isnan(y[j]) == std::isnan(y[0]));
          REQUIRE(std::isnan(dx[j]) == std::isnan(y[0]));
        }
      }
}

// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <limits>

#include <heed/layers/softmax.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;

TEST_CASE("Softmax is certified along every axis") {
  const auto check = [](int dim, const Shape& shape, double range = 3) {
    const auto report = check_gradients(Softmax<double>({.dim = dim}), shape, {.input_low = -range, .input_high = range});
    INFO(dim << ": " << report.to_string());
    CHECK(report.passed());
  };
  for (Index width : {1, 2, 7, 8, 9, 17}) check(-1, {3, width});
  for (int dim : {-4, -3, -2, -1, 0, 1, 2, 3}) check(dim, {2, 3, 2, 5});
  for (Index inner : {1, 8, 17}) check(1, {2, 4, inner}, 30);
}

TEST_CASE("Softmax along an axis is Softmax along the last one, turned") {
  const auto x = random_tensor<float, 3>({3, 5, 4}, 1, -4, 4);
  const auto y = Softmax<float>({.dim = 1}).forward(x);
  for (Index i = 0; i < 3; ++i)
    for (Index k = 0; k < 4; ++k) {
      Tensor<float, 1> row({5});
      for (Index j = 0; j < 5; ++j) row[j] = x(i, j, k);
      const auto turned = Softmax<float>().forward(row);
      for (Index j = 0; j < 5; ++j) CHECK(y(i, j, k) == Approx(turned[j]).epsilon(1e-5));
    }
}

TEST_CASE("Softmax of rows that are masked") {
  const float infinity = std::numeric_limits<float>::infinity();
  Tensor<float, 2> x({2, 3}), dy({2, 3});
  x.fill(-infinity), dy.fill(2);
  x(0, 1) = 5, x(0, 2) = 5;
  Softmax<float> layer;
  Softmax<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  dy(0, 1) = 3;
  const auto dx = layer.backward(dy, cache);
  CHECK((y(0, 0) == 0 && y(0, 1) == 0.5f && y(0, 2) == 0.5f));
  CHECK((dx(0, 0) == 0 && dx(0, 1) == 0.25f && dx(0, 2) == -0.25f));
  for (Index j = 0; j < 3; ++j) CHECK((y(1, j) == 0 && dx(1, j) == 0));
}

TEST_CASE("Softmax keeps the rules of layers") {
  reference::check_layer_rules<3>(Softmax<float>(), {5, 100, 96});
  reference::check_layer_rules<3>(Softmax<float>({.dim = 1}), {5, 100, 77});
}

TEST_CASE("Softmax says what does not fit") {
  CHECK_THROWS_WITH(Softmax<float>({.dim = 2}).output_shape({3, 4}), contains("Softmax: dim is 2, the input 3x4 has 2 axes"));
  CHECK_THROWS_AS(Softmax<float>({.dim = -3}).output_shape({3, 4}), ShapeError);
  Softmax<float> layer;
  Softmax<float>::Cache cache;
  const Tensor<float, 2> x({3, 4}), wrong({2, 4});
  CHECK_THROWS_WITH(layer.backward(x, cache), contains("Softmax: backward follows one forward"));
  layer.forward(x, cache);
  CHECK_THROWS_AS(layer.backward(wrong, cache), ShapeError);
}

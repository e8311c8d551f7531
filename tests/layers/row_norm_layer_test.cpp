// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/layers/layer_norm.hpp>
#include <heed/layers/rms_norm.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;

TEST_CASE("rows whose mean is zero have one norm, whether the mean is taken off or not") {
  auto x = random_tensor<double, 2>({7, 20}, 1);
  for (Index i = 0; i < 7; ++i)
    for (Index j = 0; j < 10; ++j) x(i, 10 + j) = -x(i, j);
  const LayerNorm<double> centered({.normalized_shape = {20}, .eps = 1e-3});
  const RMSNorm<double> plain({.normalized_shape = {20}, .eps = 1e-3});
  CHECK(reference::largest_difference(centered.forward(x), plain.forward(x)) < 1e-14);
  const Tensor<double, 2> shifted = [&] {
    auto moved = x;
    for (Index i = 0; i < moved.size(); ++i) moved[i] += 3;
    return moved;
  }();
  CHECK(reference::largest_difference(centered.forward(shifted), centered.forward(x)) < 1e-13);
  CHECK(reference::largest_difference(plain.forward(shifted), plain.forward(x)) > 0.1);
}

TEST_CASE("backward_add adds the input gradient of both norms") {
  const auto check = [](auto layer) {
    const auto x = random_tensor<float, 2>({3, 6}, 1), dy = random_tensor<float, 2>({3, 6}, 2), start = random_tensor<float, 2>({3, 6}, 3);
    typename decltype(layer)::Cache cache;
    layer.forward(x, cache);
    const auto dx = layer.backward(dy, cache);
    layer.forward(x, cache);
    auto sum = start;
    layer.backward_add(dy, cache, sum.view());
    for (Index i = 0; i < dx.size(); ++i) CHECK(sum[i] == Approx(start[i] + dx[i]).margin(1e-6));
  };
  check(LayerNorm<float>({.normalized_shape = {6}}));
  check(RMSNorm<float>({.normalized_shape = {6}}));
}

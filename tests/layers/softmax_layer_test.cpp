// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/layers/log_softmax.hpp>
#include <heed/layers/softmax.hpp>

using namespace heed;
using reference::random_tensor;

TEST_CASE("the logarithm of a softmax, and the gradients that go through either way") {
  const auto x = random_tensor<double, 3>({2, 5, 3}, 1, -4, 4), dy = random_tensor<double, 3>({2, 5, 3}, 2);
  for (int dim : {0, 1, 2}) {
    Softmax<double> softmax({.dim = dim});
    LogSoftmax<double> logarithm({.dim = dim});
    Softmax<double>::Cache cache;
    LogSoftmax<double>::Cache log_cache;
    const auto p = softmax.forward(x, cache);
    const auto y = logarithm.forward(x, log_cache);
    auto dp = dy;  // of f = sum of dy log p
    for (Index i = 0; i < x.size(); ++i) {
      CHECK(std::exp(y[i]) == Approx(p[i]).epsilon(1e-13));
      dp[i] = dy[i] / p[i];
    }
    CHECK(reference::largest_difference(softmax.backward(dp, cache), logarithm.backward(dy, log_cache)) < 1e-12);
  }
}

TEST_CASE("backward may run twice on one cache: it keeps nothing but a view") {
  const auto x = random_tensor<float, 2>({3, 4}, 1), dy = random_tensor<float, 2>({3, 4}, 2);
  Softmax<float> layer;
  Softmax<float>::Cache cache;
  layer.forward(x, cache);
  CHECK(reference::same_bits(layer.backward(dy, cache), layer.backward(dy, cache)));
}

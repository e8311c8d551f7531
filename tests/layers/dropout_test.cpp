// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/dropout.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;

TEST_CASE("dropout is certified: backward draws the mask of forward") {
  for (double p : {0.0, 0.2, 0.5, 1.0})
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 7}, Shape{2, 3, 17}}) {
      const auto report = check_gradients(Dropout<double>({.p = p}), shape);
      INFO(report.to_string());
      CHECK(report.passed());
    }
}

TEST_CASE("inference is the identity") {
  const auto x = random_tensor<float, 2>({9, 9}, 1);
  CHECK(same_bits(Dropout<float>({.p = 0.7}).forward(x), x));
  reference::check_layer_rules<4>(Dropout<float>({.p = 0.7}), {3, 30, 30, 9});
}

TEST_CASE("the mask is a function of seed, step and path") {
  const auto x = random_tensor<float, 2>({20, 50}, 1, 1, 2);
  const Dropout<float> layer({.p = 0.5});
  const auto pass = [&](std::uint64_t seed, std::uint64_t step, const char* path) {
    StepScope scope(seed, step);
    LayerScope name(path);
    Dropout<float>::Cache cache;
    return layer.forward(x, cache);
  };
  const auto first = pass(1, 2, "a");
  CHECK(same_bits(pass(1, 2, "a"), first));
  CHECK(!same_bits(pass(2, 2, "a"), first));
  CHECK(!same_bits(pass(1, 3, "a"), first));
  CHECK(!same_bits(pass(1, 2, "b"), first));
}

TEST_CASE("without a step each training pass of a cache draws anew, and backward keeps to the last") {
  const auto x = random_tensor<float, 2>({20, 50}, 1, 1, 2);
  Dropout<float> layer({.p = 0.5});
  Dropout<float>::Cache cache, other;
  const auto first = layer.forward(x, cache), second = layer.forward(x, cache);
  CHECK(!same_bits(first, second));
  CHECK(same_bits(layer.forward(x, other), first));  // a fresh cache starts over
  const auto dx = layer.backward(x, cache);
  CHECK(same_bits(dx, second));
}

TEST_CASE("dropout refuses a p that is no probability") {
  CHECK_THROWS_WITH(Dropout<float>({.p = 1.5}), Catch::Contains("p is 1.5"));
  CHECK_THROWS(Dropout<float>({.p = -0.1}));
  CHECK_THROWS(Dropout<float>({.p = std::nan("")}));
}

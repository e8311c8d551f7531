// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/group_norm_reference.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/group_norm.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::with_random_parameters;

TEST_CASE("group norm is certified") {
  const auto check = [](const GroupNormOptions& options, const Shape& shape, double low = -1, double high = 1) {
    const auto layer = with_random_parameters(GroupNorm<double>(options), 1);
    const auto report = check_gradients(layer, shape, {.input_low = low, .input_high = high});
    INFO(report.to_string());
    CHECK(report.passed());
  };
  check({.num_groups = 1, .num_channels = 1}, {1, 2, 3, 1});
  check({.num_groups = 1, .num_channels = 6}, {2, 6});
  check({.num_groups = 3, .num_channels = 6}, {2, 6});
  check({.num_groups = 2, .num_channels = 6}, {2, 3, 6});
  check({.num_groups = 6, .num_channels = 6}, {2, 3, 2, 6});  // instance norm
  check({.num_groups = 3, .num_channels = 9, .affine = false}, {2, 2, 2, 9});
  check({.num_groups = 2, .num_channels = 18, .eps = 1e-2}, {1, 2, 2, 18}, 9, 11);
}

TEST_CASE("group norm against the reference over awkward sizes") {
  struct Case {
    Index images, pixels, channels, groups;
  };
  for (const auto& [images, pixels, channels, groups] : {Case{1, 1, 1, 1}, {2, 1, 8, 2}, {3, 5, 6, 3}, {2, 35, 24, 8}, {2, 9, 33, 11},
           {1, 1500, 16, 4}, {2, 1100, 20, 20}, {3, 2, 130, 1}})  // some of several chunks an image
    for (bool affine : {true, false}) {
      INFO(images << " images of " << pixels << " pixels and " << channels << " channels in " << groups << " groups");
      auto layer = with_random_parameters(GroupNorm<float>({.num_groups = groups, .num_channels = channels, .affine = affine}), 3);
      const Shape shape{images, pixels, channels};
      const auto x = random_tensor<float, 3>(shape, 1, -3, 5), dy = random_tensor<float, 3>(shape, 2);
      GroupNorm<float>::Cache cache;
      const auto y = layer.forward(x, cache);
      CHECK(reference::same_bits(std::as_const(layer).forward(x), y));
      const auto dx = layer.backward(dy, cache);
      const auto r = reference::group_norm(images, pixels, channels, groups, x.data(), std::as_const(layer).weight().value(),
          std::as_const(layer).bias().value(), 1e-5, dy.data());
      const auto close = [](const float* found, const std::vector<long double>& expected, double margin) {
        for (std::size_t i = 0; i < expected.size(); ++i)
          REQUIRE(found[i] == Approx(static_cast<double>(expected[i])).epsilon(1e-5).margin(margin));
      };
      const double single = pixels * channels == groups ? 320 : 1;  // 1/√eps of a lonely number, whose deviation is rounding
      close(y.data(), r.y, 1e-5);
      close(dx.data(), r.dx, 1e-5 * single);
      if (affine) close(layer.weight().gradient(), r.d_weight, 1e-4);
      if (affine) close(layer.bias().gradient(), r.d_bias, 1e-4);
    }
}

TEST_CASE("one group over tokens of one pixel is layer norm") {
  const auto x = random_tensor<double, 2>({5, 12}, 1, -3, 5);
  const GroupNorm<double> group({.num_groups = 1, .num_channels = 12});
  const LayerNorm<double> layer({.normalized_shape = {12}});
  CHECK(reference::largest_difference(group.forward(x), layer.forward(x)) < 1e-14);
}

TEST_CASE("groups far from zero keep their digits") {
  auto x = random_tensor<float, 3>({2, 50, 6}, 1);
  for (Index i = 0; i < x.size(); ++i) x[i] = std::round(x[i] * 1024) / 1024;  // exact after the shift, too
  auto shifted = x;
  for (Index i = 0; i < x.size(); ++i) shifted[i] += 4096;
  const GroupNorm<float> layer({.num_groups = 2, .num_channels = 6});
  CHECK(reference::largest_difference(layer.forward(shifted), layer.forward(x)) < 2e-4);
}

TEST_CASE("group norm keeps the rules of layers") {
  const GroupNorm<float> layer({.num_groups = 3, .num_channels = 18});
  reference::check_layer_rules<4>(with_random_parameters(layer, 1), {3, 30, 40, 18});
  reference::check_layer_rules<2>(with_random_parameters(layer, 1), {70, 18});
}

TEST_CASE("group norm: nothing to normalise, frozen parameters") {
  GroupNorm<float> layer({.num_groups = 3, .num_channels = 6});
  CHECK(layer.forward(Tensor<float, 3>({0, 4, 6})).shape() == Shape{0, 4, 6});
  CHECK(layer.forward(Tensor<float, 3>({2, 0, 6})).shape() == Shape{2, 0, 6});
  layer.freeze();
  GroupNorm<float>::Cache cache;
  const auto x = random_tensor<float, 2>({4, 6}, 1);
  layer.forward(x, cache);
  layer.backward(x, cache);
  CHECK(!layer.weight().has_gradient());
}

TEST_CASE("group norm says what does not fit") {
  CHECK_THROWS_WITH(GroupNorm<float>({.num_groups = 4, .num_channels = 6}),
      contains("GroupNorm: num_channels (6) must be a positive multiple of num_groups (4)"));
  CHECK_THROWS(GroupNorm<float>({.num_groups = 0, .num_channels = 6}));
  CHECK_THROWS(GroupNorm<float>({.num_groups = 3, .num_channels = 6, .eps = -1}));
  GroupNorm<float> layer({.num_groups = 3, .num_channels = 6});
  CHECK_THROWS_WITH(layer.output_shape({2, 5, 4}), contains("GroupNorm: input has 4 channels, the layer 6 (input 2x5x4)"));
  CHECK_THROWS_AS(layer.output_shape({6}), ShapeError);
  GroupNorm<float>::Cache cache;
  const Tensor<float, 2> x({3, 6}), wrong({2, 6});
  CHECK_THROWS_WITH(layer.backward(x, cache), contains("GroupNorm: backward follows one forward"));
  layer.forward(x, cache);
  CHECK_THROWS_AS(layer.backward(wrong, cache), ShapeError);
  layer.backward(x, cache);
  CHECK_THROWS_WITH(layer.backward(x, cache), contains("GroupNorm: backward follows one forward"));
}

// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_norm_reference.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/rms_norm.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::with_random_parameters;

TEST_CASE("RMS norm is certified") {
  const auto check = [](const RMSNormOptions& options, const Shape& shape, double low = -1, double high = 1) {
    const auto layer = with_random_parameters(RMSNorm<double>(options), 1);
    const auto report = check_gradients(layer, shape, {.input_low = low, .input_high = high});
    INFO(report.to_string());
    CHECK(report.passed());
  };
  for (Index width : {1, 2, 7, 8, 9, 17, 33}) check({.normalized_shape = {width}}, {3, width});
  check({.normalized_shape = {5}}, {1, 5});
  check({.normalized_shape = {3, 5}}, {2, 2, 3, 5});
  check({.normalized_shape = {6}, .eps = 1e-2}, {4, 6});
  check({.normalized_shape = {6}, .elementwise_affine = false}, {4, 6});
  check({.normalized_shape = {6}}, {4, 6}, 9, 11);
}

TEST_CASE("RMS norm over several axes against the reference") {
  const Shape shape{3, 4, 5, 6};
  auto layer = with_random_parameters(RMSNorm<float>({.normalized_shape = {5, 6}, .eps = 1e-3}), 3);
  const auto x = random_tensor<float, 4>(shape, 1, -3, 5), dy = random_tensor<float, 4>(shape, 2);
  RMSNorm<float>::Cache cache;
  const auto y = layer.forward(x, cache);
  CHECK(cache.mean.empty());
  const auto dx = layer.backward(dy, cache);
  const auto r = reference::layer_norm<float>(12, 30, x.data(), layer.weight().value(), nullptr, 1e-3, dy.data(), false);
  for (Index i = 0; i < x.size(); ++i) {
    CHECK(y[i] == Approx(static_cast<double>(r.y[static_cast<std::size_t>(i)])).margin(1e-5));
    CHECK(dx[i] == Approx(static_cast<double>(r.dx[static_cast<std::size_t>(i)])).margin(1e-5));
  }
  for (Index j = 0; j < 30; ++j)
    CHECK(layer.weight().gradient()[j] == Approx(static_cast<double>(r.d_weight[static_cast<std::size_t>(j)])).margin(1e-4));
}

TEST_CASE("without eps the machine epsilon of the scalar is added") {
  // mean(x²) = 1e-8 is little beside float's 1.2e-7 and much beside double's 2.2e-16.
  Tensor<float, 2> x({1, 4});
  x.fill(1e-4f);
  const double in_float = 1e-4 / std::sqrt(1e-8 + 0x1p-23);
  CHECK(RMSNorm<float>({.normalized_shape = {4}}).forward(x)[0] == Approx(in_float).epsilon(1e-5));
  Tensor<double, 2> wide({1, 4});
  wide.fill(1e-4);
  CHECK(RMSNorm<double>({.normalized_shape = {4}}).forward(wide)[0] == Approx(1).epsilon(1e-7));
  CHECK(RMSNorm<float>({.normalized_shape = {4}, .eps = 0.0}).forward(x)[0] == Approx(1).epsilon(1e-6));

  struct Eps : Visitor<float> {
    std::string found;
    using Visitor<float>::option;
    void option(std::string_view name, const std::string& value) override {
      if (name == "eps") found = value;
    }
  } eps;
  RMSNorm<float>({.normalized_shape = {4}}).describe(eps);
  CHECK(eps.found == text(0x1p-23));
}

TEST_CASE("RMS norm keeps the rules of layers") {
  reference::check_layer_rules<3>(with_random_parameters(RMSNorm<float>({.normalized_shape = {96}}), 1), {5, 100, 96});
  reference::check_layer_rules<4>(with_random_parameters(RMSNorm<float>({.normalized_shape = {3, 17}}), 1), {2, 3, 3, 17});
}

TEST_CASE("RMS norm says what does not fit") {
  CHECK_THROWS_WITH(RMSNorm<float>({.normalized_shape = {4, 5}}).output_shape({3, 5, 5}),
      contains("RMSNorm: input 3x5x5 does not end with the normalized shape 4x5"));
  CHECK_THROWS(RMSNorm<float>({}));
  CHECK_THROWS_WITH(RMSNorm<float>({.normalized_shape = {4}, .eps = -1.0}), contains("RMSNorm: eps is -1"));
  RMSNorm<float> layer({.normalized_shape = {4}});
  RMSNorm<float>::Cache cache;
  const Tensor<float, 2> x({3, 4}), wrong({2, 4});
  CHECK_THROWS_WITH(layer.backward(x, cache), contains("RMSNorm: backward follows one forward"));
  layer.forward(x, cache);
  CHECK_THROWS_AS(layer.backward(wrong, cache), ShapeError);
}

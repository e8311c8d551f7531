// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/batch_norm1d.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::with_random_parameters;

TEST_CASE("BatchNorm1d is certified over rows and over tokens") {
  const auto check = [](const BatchNorm1dOptions& options, const Shape& shape) {
    const auto report = check_gradients(with_random_parameters(BatchNorm1d<double>(options), 1), shape);
    INFO(shape.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  };
  check({.num_features = 1}, {2, 1});
  check({.num_features = 9}, {5, 9});
  check({.num_features = 3}, {2, 4, 3});
  check({.num_features = 17}, {1, 2, 17});
  check({.num_features = 3, .affine = false, .frozen_statistics = true}, {1, 1, 3});
  check({.num_features = 3, .track_running_stats = false}, {3, 3});
  check({.num_features = 2, .shard_size = 2}, {4, 2, 2});
}

TEST_CASE("tokens are normalised as the rows that they are") {
  const auto x = random_tensor<float, 3>({3, 5, 4}, 1, -2, 3);
  BatchNorm1d<float> layer({.num_features = 4});
  BatchNorm1d<float>::Cache cache, row_cache;
  const auto y = layer.forward(x, cache);
  CHECK(reference::same_bits(layer.forward(x.as_rows(), row_cache), y));
  for (Index j = 0; j < 4; ++j) {
    double mean = 0, square = 0;
    for (Index i = 0; i < 15; ++i) mean += y[i * 4 + j] / 15.0, square += y[i * 4 + j] * y[i * 4 + j] / 15.0;
    CHECK(mean == Approx(0).margin(1e-6));
    CHECK(square == Approx(1).epsilon(1e-4));
  }
  layer.backward(y, cache);  // folds mean and unbiased variance into the running ones
  double mean = 0, square = 0;
  for (Index i = 0; i < 15; ++i) mean += x[i * 4] / 15.0, square += x[i * 4] * x[i * 4] / 15.0;
  CHECK(layer.running_mean()[0] == Approx(0.1 * mean));
  CHECK(layer.running_var()[0] == Approx(0.9 + 0.1 * (square - mean * mean) * 15 / 14));
  reference::check_layer_rules<3>(layer, {5, 7, 4});
}

TEST_CASE("BatchNorm1d has its own name and ranks") {
  struct Kind : Visitor<float> {
    std::string name;
    void kind(std::string_view kind) override { name = kind; }
  } kind;
  BatchNorm1d<float> layer({.num_features = 3});
  layer.describe(kind);
  CHECK(kind.name == "BatchNorm1d");
  CHECK_THROWS_WITH(layer.output_shape({2, 2, 2, 3}), "BatchNorm1d: input 2x2x2x3 has 4 axes, the layer takes 2 to 3");
  CHECK_THROWS_AS(layer.output_shape({3}), ShapeError);
  CHECK_THROWS_WITH(layer.output_shape({2, 4}), "BatchNorm1d: input has 4 features, the layer 3 (input 2x4)");
  CHECK_THROWS_WITH(BatchNorm1d<float>({.num_features = 0}), contains("BatchNorm1d: num_features (0)"));
  BatchNorm1d<float>::Cache cache;
  const Tensor<float, 2> one({1, 3});
  CHECK_THROWS_WITH(layer.forward(one, cache), contains("BatchNorm1d: one value a feature has no variance"));
}

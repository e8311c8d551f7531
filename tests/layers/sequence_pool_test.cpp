// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/sequence_pool.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::with_random_parameters;

TEST_CASE("sequence pooling is certified on tokens and on maps") {
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{2, 1, 5}, Shape{3, 7, 4}, Shape{1, 17, 9}, Shape{2, 8, 1}}) {
    const auto report = check_gradients(with_random_parameters(SequencePool<double>({.features = shape[2]}), 1), shape);
    INFO(report.to_string());
    CHECK(report.passed());
  }
  const auto report = check_gradients(with_random_parameters(SequencePool<double, 4>({.features = 5}), 1), Shape{2, 3, 4, 5});
  INFO(report.to_string());
  CHECK(report.passed());
  auto frozen = with_random_parameters(SequencePool<double>({.features = 4}), 1);
  frozen.freeze();
  const auto frozen_report = check_gradients(frozen, Shape{2, 3, 4});
  INFO(frozen_report.to_string());
  CHECK(frozen_report.passed());
}

TEST_CASE("without a direction the pool is the mean") {
  SequencePool<float> layer({.features = 6});
  std::fill_n(layer.weight().value(), 6, 0.0f);
  const auto x = random_tensor<float, 3>({2, 5, 6}, 1);
  const auto y = layer.forward(x);
  for (Index n = 0; n < 2; ++n)
    for (Index c = 0; c < 6; ++c) {
      float sum = 0;
      for (Index t = 0; t < 5; ++t) sum += x(n, t, c);
      CHECK(y(n, c) == Approx(sum / 5).margin(1e-6));
    }
}

TEST_CASE("sequence pooling keeps the rules of layers and says what does not fit") {
  reference::check_layer_rules<3>(with_random_parameters(SequencePool<float>({.features = 65}), 1), {37, 49, 65});
  CHECK_THROWS_WITH(SequencePool<float>({.features = 6}).output_shape({2, 3, 5}),
      contains("SequencePool: input is 2x3x5, the layer takes rank 3 with 6 features"));
  CHECK_THROWS_AS(SequencePool<float>({.features = 6}).output_shape({2, 0, 6}), ShapeError);
  CHECK_THROWS(SequencePool<float>({}));
}

TEST_CASE("SequencePool refuses a cache that no forward has filled") {
  SequencePool<float> layer({.features = 1});
  SequencePool<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("SequencePool: backward follows one forward"));
  CHECK_THROWS_WITH(SequencePool<float>({.features = -1}), contains("SequencePool: features (-1)"));
  SequencePool<float> wide({.features = 40});
  const Tensor<float, 3> x({1, 3, 1});
  layer.forward(x, cache);
  CHECK_THROWS_WITH(wide.backward(Tensor<float, 2>({1, 40}), cache),
      contains("SequencePool: the cache has seen an input of 1 features, this layer takes 40"));
}

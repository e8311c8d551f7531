// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/layers/linear.hpp>
#include <heed/layers/output_projection.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::same_bits;
using reference::with_random_parameters;

TEST_CASE("concatenate and project is certified for both inputs") {
  const auto check = [](const OutputProjectionOptions& options, const Shape& context, const Shape& x) {
    const auto report = check_gradients(with_random_parameters(OutputProjection<double>(options), 2), std::array{context, x});
    INFO(report.to_string());
    CHECK(report.passed());
  };
  check({.context_features = 1, .input_features = 1, .out_features = 1}, {1, 1, 1}, {1, 1, 1});
  check({.context_features = 4, .input_features = 4, .out_features = 4}, {2, 3, 4}, {2, 3, 4});
  check({.context_features = 3, .input_features = 7, .out_features = 9}, {2, 3, 3}, {2, 3, 7});
  check({.context_features = 8, .input_features = 2, .out_features = 5, .bias = false}, {1, 2, 2, 8}, {1, 2, 2, 2});
}

TEST_CASE("it is a linear layer on the concatenation that it never makes") {
  const auto layer = with_random_parameters(OutputProjection<float>({.context_features = 5, .input_features = 3, .out_features = 6}), 1);
  const auto context = random_tensor<float, 2>({7, 5}, 1), x = random_tensor<float, 2>({7, 3}, 2);
  Tensor<float, 2> both({7, 8});
  both.matrix() << context.matrix(), x.matrix();
  Linear<float> linear({.in_features = 8, .out_features = 6});
  std::copy_n(layer.weight().value(), 48, linear.weight().value());
  std::copy_n(layer.bias().value(), 6, linear.bias().value());
  const auto y = layer.forward(context, x), expected = linear.forward(both);
  CHECK(reference::largest_difference(y, expected) < 1e-6);

  auto sum = random_tensor<float, 2>({7, 6}, 3);
  const auto before = sum;
  layer.forward_add(context, x, sum.view());
  for (Index i = 0; i < sum.size(); ++i) CHECK(sum[i] == Approx(before[i] + y[i]).margin(1e-6));
}

TEST_CASE("the same bits for any number of threads and for a row alone") {
  const auto layer = with_random_parameters(OutputProjection<float>({.context_features = 40, .input_features = 40, .out_features = 40}), 1);
  const auto context = random_tensor<float, 3>({4, 65, 40}, 1), x = random_tensor<float, 3>({4, 65, 40}, 2);
  const auto run = [&](int threads) {
    ThreadScope limit(threads);
    return layer.forward(context, x);
  };
  const auto y = run(1);
  CHECK(same_bits(run(2), y));
  CHECK(same_bits(run(5), y));
  CHECK(same_bits(layer.forward(context.slice(2, 3), x.slice(2, 3)), y.slice(2, 3)));
}

TEST_CASE("how W_o starts is chosen, and what does not fit is said") {
  const OutputProjection<float> zero({.context_features = 4, .input_features = 4, .out_features = 4, .weight = Initializer::zeros});
  CHECK(std::all_of(zero.weight().value(), zero.weight().value() + 32, [](float v) { return v == 0; }));
  CHECK_THROWS_WITH(zero.output_shape({2, 3, 4}, {2, 2, 4}), contains("context 2x3x4 and input 2x2x4 must have the same rows"));
  CHECK_THROWS_AS(zero.output_shape({2, 3, 4}, {2, 3, 5}), ShapeError);
  CHECK_THROWS(OutputProjection<float>({.context_features = 4, .input_features = 4}));
}

TEST_CASE("OutputProjection refuses a cache that no forward has filled") {
  OutputProjection<float> layer({.context_features = 1, .input_features = 1, .out_features = 1});
  OutputProjection<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("OutputProjection: backward follows one forward"));

  OutputProjection<float> other({.context_features = 1, .input_features = 40, .out_features = 1}),
      third({.context_features = 40, .input_features = 1, .out_features = 1});
  layer.forward(dy, dy, cache);
  CHECK_THROWS_WITH(
      other.backward(dy, cache), contains("OutputProjection: the cache has seen an input of 1 features, this layer takes 40"));
  CHECK_THROWS_WITH(
      third.backward(dy, cache), contains("OutputProjection: the cache has seen an input of 1 features, this layer takes 40"));
}

// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"
#include "reference/linear_reference.hpp"

#include <heed/layers/linear.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::largest_difference;
using reference::random_tensor;
using reference::with_random_parameters;

namespace {

/// A std::vector as what `largest_difference` takes.
struct Numbers {
  const std::vector<long double>& v;
  Index size() const { return static_cast<Index>(v.size()); }
  long double operator[](Index i) const { return v[static_cast<std::size_t>(i)]; }
};

template <class T>
void check_against_reference(Index rows, Index in, Index out, bool bias, double tolerance) {
  INFO(rows << " rows, " << in << " -> " << out);
  auto layer = with_random_parameters(Linear<T>({.in_features = in, .out_features = out, .bias = bias}), 1);
  const auto x = random_tensor<T, 2>({rows, in}, 5), dy = random_tensor<T, 2>({rows, out}, 6);
  typename Linear<T>::Cache cache;
  const auto y = layer.forward(x, cache);
  const auto dx = layer.backward(dy, cache);
  const auto r = reference::linear(rows, in, out, x.data(), layer.weight().value(), layer.bias().value(), dy.data());
  CHECK(largest_difference(y, Numbers{r.y}) < tolerance * static_cast<double>(in + 1));
  CHECK(largest_difference(dx, Numbers{r.dx}) < tolerance * static_cast<double>(out + 1));
  CHECK(largest_difference(TensorView<const T, 1>(layer.weight().gradient(), {in * out}), Numbers{r.d_weight}) <
        tolerance * static_cast<double>(rows + 1));
  if (bias)
    CHECK(largest_difference(TensorView<const T, 1>(layer.bias().gradient(), {out}), Numbers{r.d_bias}) <
          tolerance * static_cast<double>(rows + 1));
}

}  // namespace

TEST_CASE("linear against three loops") {
  for (Index rows : {1, 2, 13, 14, 15, 70})
    for (Index in : {1, 5, 16, 33})
      for (Index out : {1, 7, 32, 33, 65}) {
        check_against_reference<float>(rows, in, out, true, 1e-7);
        check_against_reference<double>(rows, in, out, out % 2 == 0, 2e-16);
      }
  check_against_reference<float>(3, 1000, 10, true, 1e-7);  // several depth blocks
}

TEST_CASE("linear is certified") {
  const auto check = [](const LinearOptions& options, const Shape& shape) {
    const auto report = check_gradients(with_random_parameters(Linear<double>(options), 2), shape);
    INFO(report.to_string());
    CHECK(report.passed());
  };
  check({.in_features = 1, .out_features = 1}, {1, 1});
  check({.in_features = 3, .out_features = 9}, {13, 3});
  check({.in_features = 9, .out_features = 8}, {2, 7, 9});
  check({.in_features = 5, .out_features = 17, .bias = false}, {2, 3, 1, 5});
  check({.in_features = 33, .out_features = 2}, {1, 33});
}

TEST_CASE("frozen parts of linear get no gradient") {
  Linear<double> layer({.in_features = 4, .out_features = 3});
  layer.weight().freeze();
  const auto report = check_gradients(layer, Shape{5, 4});
  INFO(report.to_string());
  CHECK(report.passed());
  Linear<double>::Cache cache;
  const auto x = random_tensor<double, 2>({5, 4}, 1), dy = random_tensor<double, 2>({5, 3}, 1);
  layer.forward(x, cache);
  layer.backward(dy, cache);
  CHECK(!layer.weight().has_gradient());
  CHECK(layer.bias().has_gradient());
}

TEST_CASE("linear keeps the rules of layers") {
  reference::check_layer_rules<3>(Linear<float>({.in_features = 40, .out_features = 50}), {7, 65, 40});
  reference::check_layer_rules<2>(Linear<float>({.in_features = 800, .out_features = 10}), {30, 800});
}

TEST_CASE("linear starts as torch.nn.Linear does, and says what does not fit") {
  SeedScope seed(1);
  const Linear<float> layer({.in_features = 16, .out_features = 500});
  const float bound = 0.25f;
  CHECK(*std::max_element(layer.weight().value(), layer.weight().value() + 8000) == Approx(bound).margin(0.001));
  CHECK(*std::min_element(layer.bias().value(), layer.bias().value() + 500) == Approx(-bound).margin(0.005));
  CHECK_THROWS_WITH(layer.output_shape({2, 15}), contains("Linear: input has 15 features, weight expects 16 (input 2x15, weight 500x16)"));
  CHECK_THROWS(Linear<float>({.in_features = 0, .out_features = 3}));
  CHECK(layer.output_shape({2, 3, 16}) == Shape{2, 3, 500});
  CHECK(layer.parameter_count() == 8500);
}

TEST_CASE("Linear refuses a cache that no forward has filled") {
  Linear<float> layer({.in_features = 1, .out_features = 1});
  Linear<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("Linear: backward follows one forward"));
  CHECK_THROWS_WITH(Linear<float>({.in_features = -1, .out_features = 3}), contains("Linear: in_features (-1)"));

  Linear<float> narrow({.in_features = 2, .out_features = 1}), wide({.in_features = 1000, .out_features = 1});
  const Tensor<float, 2> x({1, 2});
  narrow.forward(x, cache);
  CHECK_THROWS_WITH(wide.backward(dy, cache), contains("Linear: the cache has seen an input of 2 features, this layer takes 1000"));
  CHECK_THROWS_AS(wide.forward(x, cache), ShapeError);
  CHECK_THROWS_AS(wide.backward(dy, cache), ShapeError);  // of a forward pass that refused
}

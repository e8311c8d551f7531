// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/positional_encoding.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::random_tensor;
using reference::with_random_parameters;

namespace {
constexpr PositionKind kKinds[] = {PositionKind::sine, PositionKind::learned};
constexpr PositionUse kUses[] = {PositionUse::added, PositionUse::multiplied};
}  // namespace

TEST_CASE("positional encodings are certified: both tables, both uses, one and two dimensions") {
  for (PositionKind kind : kKinds)
    for (PositionUse use : kUses) {
      const auto check = [&](PositionalEncodingOptions options, const Shape& shape) {
        options.kind = kind, options.use = use;
        const auto report = check_gradients(with_random_parameters(PositionalEncoding<double>(options), 2), shape);
        INFO(report.to_string());
        CHECK(report.passed());
      };
      check({.features = 1, .tokens = 1}, {1, 1, 1});
      check({.features = 6, .tokens = 5}, {3, 5, 6});
      check({.features = 5, .tokens = 9}, {2, 4, 5});  // shorter than the table
      check({.features = 3, .tokens = 4}, {4, 3});     // one sequence
      check({.features = 8, .height = 2, .width = 3}, {2, 2, 3, 8});
      check({.features = 7, .height = 3, .width = 1}, {2, 3, 1, 7});
      check({.features = 8, .height = 2, .width = 3}, {2, 6, 8});  // the map as tokens
    }
}

TEST_CASE("sines and cosines of one dimension") {
  const PositionalEncoding<double> layer({.features = 6, .tokens = 10});
  for (Index t = 0; t < 10; ++t)
    for (Index i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(t) / std::pow(10000.0, 2.0 * static_cast<double>(i) / 6.0);
      CHECK(layer.encoding()(t, 2 * i) == Approx(std::sin(angle)).margin(1e-15));
      CHECK(layer.encoding()(t, 2 * i + 1) == Approx(std::cos(angle)).margin(1e-15));
    }
  const Tensor<double, 3> zeros({2, 4, 6});
  const auto y = layer.forward(zeros);
  CHECK(y(1, 3, 0) == std::sin(3.0));
}

TEST_CASE("two dimensions: half of the channels for the row, half for the column") {
  const PositionalEncoding<double> map({.features = 8, .height = 3, .width = 5}), row({.features = 4, .tokens = 5});
  for (Index y = 0; y < 3; ++y)
    for (Index x = 0; x < 5; ++x)
      for (Index c = 0; c < 4; ++c) {
        CHECK(map.encoding()(y * 5 + x, c) == row.encoding()(y, c));
        CHECK(map.encoding()(y * 5 + x, 4 + c) == row.encoding()(x, c));
      }
}

TEST_CASE("a multiplied encoding multiplies, a learned one starts without effect") {
  const auto x = random_tensor<float, 3>({2, 3, 4}, 1);
  const PositionalEncoding<float> sine({.features = 4, .tokens = 3, .use = PositionUse::multiplied});
  const auto y = sine.forward(x);
  for (Index n = 0; n < 2; ++n)
    for (Index t = 0; t < 3; ++t)
      for (Index c = 0; c < 4; ++c) CHECK(y(n, t, c) == x(n, t, c) * sine.encoding()(t, c));
  const PositionalEncoding<float> learned({.features = 4, .tokens = 3, .kind = PositionKind::learned, .use = PositionUse::multiplied});
  CHECK(reference::same_bits(learned.forward(x), x));
  CHECK(sine.parameter_count() == 0);
  CHECK(learned.parameter_count() == 12);
}

TEST_CASE("positional encodings keep the rules of layers") {
  for (PositionKind kind : kKinds)
    for (PositionUse use : kUses)
      reference::check_layer_rules<4>(
          with_random_parameters(PositionalEncoding<float>({.features = 33, .height = 7, .width = 7, .kind = kind, .use = use}), 1),
          {40, 7, 7, 33});
}

TEST_CASE("positional encodings say what does not fit") {
  const PositionalEncoding<float> line({.features = 4, .tokens = 3}), map({.features = 4, .height = 2, .width = 3});
  CHECK_THROWS_WITH(line.output_shape({2, 4, 4}), contains("input is 2x4x4, the table holds 3 x 1 positions of 4 features"));
  CHECK_THROWS_AS(line.output_shape({2, 3, 5}), ShapeError);
  CHECK_THROWS_AS(map.output_shape({2, 3, 2, 4}), ShapeError);
  CHECK_THROWS_AS(map.output_shape({2, 5, 4}), ShapeError);
  CHECK_THROWS(PositionalEncoding<float>({.features = 4}));
  CHECK_THROWS_WITH(
      PositionalEncoding<float>({.features = 4, .tokens = 3, .base = 0}), contains("base must be at least 1 and finite, is 0"));
  CHECK_THROWS(PositionalEncoding<float>({.features = 4, .tokens = 3, .base = -10}));
  CHECK_NOTHROW(PositionalEncoding<float>({.features = 4, .tokens = 3, .base = 1}));
  CHECK_THROWS(PositionalEncoding<float>({.features = 4, .tokens = 6, .height = 2, .width = 3}));
  CHECK_THROWS(PositionalEncoding<float>({.features = 4, .height = 2}));
}

TEST_CASE("PositionalEncoding refuses a cache that no forward has filled") {
  PositionalEncoding<float> layer({.features = 1, .tokens = 1, .kind = PositionKind::learned, .use = PositionUse::multiplied});
  PositionalEncoding<float>::Cache cache;
  const Tensor<float, 2> dy({1, 1});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("PositionalEncoding: backward follows one forward"));
}

TEST_CASE("PositionalEncoding refuses the gradient of as many rows in another shape") {
  PositionalEncoding<float> layer({.features = 1, .tokens = 3, .kind = PositionKind::learned});
  PositionalEncoding<float>::Cache cache;
  const Tensor<float, 3> x({2, 3, 1});
  layer.forward(x, cache);
  CHECK_THROWS_AS(layer.backward(Tensor<float, 3>({3, 2, 1}), cache), ShapeError);
}

TEST_CASE("a learned table that is added starts as N(0, 0.02^2)") {
  const SeedScope seed(1);
  const PositionalEncoding<double> layer({.features = 100, .tokens = 100, .kind = PositionKind::learned});
  double squares = 0;
  for (Index i = 0; i < 10000; ++i) squares += layer.weight().value()[i] * layer.weight().value()[i] / 10000;
  CHECK(std::sqrt(squares) == Approx(0.02).epsilon(0.04));
}

// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include <heed/layers/conv2d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"

using heed::Conv2d;
using heed::Conv2dOptions;
using heed::Index;
using heed::Shape;
using heed::Tensor;

TEST_CASE("Conv2d: certificate for every option and awkward shapes") {
  struct Case {
    Conv2dOptions options;
    Shape x;
  };
  const Case cases[] = {
      {{.in_channels = 1, .out_channels = 1}, {1, 1, 1, 1}},
      {{.in_channels = 2, .out_channels = 3, .kernel_size = 3, .padding = 1}, {2, 4, 5, 2}},
      {{.in_channels = 2, .out_channels = 3, .kernel_size = 3, .padding = 1, .bias = false}, {1, 1, 3, 2}},
      {{.in_channels = 3, .out_channels = 2, .kernel_size = 2}, {2, 3, 4, 3}},
      {{.in_channels = 3, .out_channels = 2, .kernel_size = {2, 3}, .stride = {3, 2}, .padding = {1, 0, 2, 1}}, {2, 6, 5, 3}},
      {{.in_channels = 2, .out_channels = 2, .kernel_size = {3, 2}, .stride = 2, .padding = 2, .dilation = {2, 3}}, {1, 7, 6, 2}},
      {{.in_channels = 4, .out_channels = 6, .kernel_size = 3, .padding = 1, .groups = 2}, {2, 3, 3, 4}},
      {{.in_channels = 3, .out_channels = 6, .kernel_size = 2, .stride = 2, .groups = 3}, {1, 5, 5, 3}},
      {{.in_channels = 3, .out_channels = 3, .kernel_size = 3, .padding = 1, .groups = 3}, {2, 4, 3, 3}},
      {{.in_channels = 5, .out_channels = 5, .kernel_size = {2, 3}, .stride = {2, 3}, .padding = {0, 2}, .dilation = 2, .groups = 5},
          {1, 7, 8, 5}},
      {{.in_channels = 5, .out_channels = 9, .kernel_size = 1, .stride = 2}, {1, 3, 3, 5}},
      {{.in_channels = 9, .out_channels = 17, .kernel_size = {1, 2}}, {1, 2, 3, 9}},
  };
  for (const Case& example : cases) {
    auto report = heed::check_gradients(Conv2d<double>(example.options), example.x);
    INFO(example.x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEST_CASE("Conv2d: frozen parameters get no gradient") {
  Conv2d<double> layer({.in_channels = 2, .out_channels = 3, .kernel_size = 2});
  layer.weight().freeze();
  auto report = heed::check_gradients(layer, Shape{1, 3, 3, 2});
  INFO(report.to_string());
  CHECK(report.passed());
}

TEST_CASE("Conv2d: without an input gradient backward returns an empty tensor and the same parameter gradients") {
  Conv2dOptions options{.in_channels = 3, .out_channels = 4, .kernel_size = 2};
  Conv2d<float> with(options);
  options.input_gradient = false;
  Conv2d<float> without(options);
  heed::copy_parameters(with, without);
  Tensor<float, 4> x({2, 4, 4, 3});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7) - 3;
  Conv2d<float>::Cache cache;
  Conv2d<float>::Cache other;
  const auto dy = with.forward(x, cache);
  without.forward(x, other);
  CHECK(with.backward(dy, cache).shape() == x.shape());
  CHECK(without.backward(dy, other).empty());
  CHECK(std::equal(with.weight().gradient(), with.weight().gradient() + with.weight().size(), without.weight().gradient()));
  CHECK(std::equal(with.bias().gradient(), with.bias().gradient() + 4, without.bias().gradient()));

  const Conv2d<double> certified(options);
  const auto report = heed::check_gradients(certified, Shape{2, 4, 4, 3}, {.input_gradient = false});
  INFO(report.to_string());
  CHECK(report.passed());
  CHECK_FALSE(heed::check_gradients(certified, Shape{2, 4, 4, 3}).passed());
}

TEST_CASE("Conv2d: an image alone gives the same bits as in a batch") {
  for (const Index groups : {Index{1}, Index{8}}) {
    const Conv2d<float> layer({.in_channels = 8, .out_channels = 8, .kernel_size = 3, .stride = 2, .padding = 1, .groups = groups});
    Tensor<float, 4> x({5, 9, 7, 8});
    for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
    const auto y = layer.forward(x);
    for (Index n = 0; n < 5; ++n) {
      const auto alone = layer.forward(x.slice(n, n + 1));
      CHECK(std::equal(alone.data(), alone.data() + alone.size(), y.slice(n, n + 1).data()));
    }
  }
}

TEST_CASE("Conv2d: errors name the layer, the rule and both sides") {
  const Conv2d<float> layer({.in_channels = 16, .out_channels = 8, .kernel_size = 3});
  CHECK_THROWS_WITH(layer.forward(Tensor<float, 4>({8, 32, 32, 3})),
      "Conv2d: input has 3 channels, weight expects 16 (input 8x32x32x3, weight 8x16x3x3, groups 1)");
  CHECK_THROWS_AS(layer.output_shape({8, 2, 5, 16}), heed::ShapeError);
  CHECK_THROWS_AS(layer.output_shape({8, 32, 16}), heed::ShapeError);
  CHECK_THROWS_WITH(Conv2d<float>({.in_channels = 3, .out_channels = 4, .groups = 2}),
      "Conv2d: in_channels (3) and out_channels (4) must be positive multiples of groups (2)");
  CHECK_THROWS_AS(Conv2d<float>({.in_channels = 3, .out_channels = 4, .stride = {1, 0}}), std::invalid_argument);
  CHECK_THROWS_AS(Conv2d<float>({.in_channels = 3, .out_channels = 4, .padding = {0, -1, 0, 0}}), std::invalid_argument);
  Conv2d<float> narrow({.in_channels = 1, .out_channels = 1, .kernel_size = 2});
  const Tensor<float, 4> x({1, 3, 3, 1});
  Conv2d<float>::Cache cache;
  narrow.forward(x, cache);
  CHECK_THROWS_AS(narrow.backward(x, cache), heed::ShapeError);
}

TEST_CASE("Conv2d: describes itself under torch's names") {
  Conv2d<float> layer({.in_channels = 4, .out_channels = 6, .kernel_size = {3, 5}, .padding = {1, 2, 0, 2}, .groups = 2});
  CHECK(layer.output_shape({2, 9, 9, 4}) == Shape{2, 8, 9, 6});
  struct Options : heed::Visitor<float> {
    std::string all;
    using heed::Visitor<float>::option;
    void option(std::string_view name, const std::string& value) override { all += std::string(name) + '=' + value + ' '; }
  } options;
  layer.describe(options);
  CHECK(options.all ==
        "in_channels=4 out_channels=6 kernel_size=3x5 stride=1x1 padding=1,2,0,2 dilation=1x1 groups=2 bias=true input_gradient=true ");
  const auto parameters = heed::named_parameters(layer);
  REQUIRE(parameters.size() == 2);
  CHECK(parameters[0].name == "weight");
  CHECK(parameters[0].parameter->shape() == Shape{6, 2, 3, 5});
  CHECK(parameters[1].name == "bias");
}

TEST_CASE("Conv2d: certificate of the Winograd algorithms, and the same function") {
  for (const auto algorithm : {heed::Conv2dAlgorithm::winograd_2x2, heed::Conv2dAlgorithm::winograd_4x4}) {
    Conv2dOptions options{.in_channels = 3, .out_channels = 5, .kernel_size = 3, .padding = {1, 0, 2, 1}, .algorithm = algorithm};
    Conv2d<double> layer(options);
    auto report = heed::check_gradients(layer, Shape{2, 5, 6, 3});
    INFO(report.to_string());
    CHECK(report.passed());
    options.algorithm = heed::Conv2dAlgorithm::direct;
    Conv2d<double> direct(options);
    heed::copy_parameters(layer, direct);
    Tensor<double, 4> x({2, 5, 6, 3});
    for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i % 7) - 3;
    const auto y = layer.forward(x), expected = direct.forward(x);
    for (Index i = 0; i < y.size(); ++i) CHECK(y[i] == Approx(expected[i]).margin(1e-12));
  }
}

TEST_CASE("Conv2d: a Winograd algorithm for another convolution is refused") {
  Conv2dOptions options{.in_channels = 4, .out_channels = 4, .kernel_size = 3, .algorithm = heed::Conv2dAlgorithm::winograd_4x4};
  CHECK_NOTHROW(Conv2d<float>(options));
  for (const auto& change : {+[](Conv2dOptions& o) {
                               o.kernel_size = {3, 5};
                             },
           +[](Conv2dOptions& o) { o.stride = 2; },
           +[](Conv2dOptions& o) {
             o.dilation = {1, 2};
           },
           +[](Conv2dOptions& o) { o.groups = 2; }}) {
    Conv2dOptions other = options;
    change(other);
    CHECK_THROWS_WITH(Conv2d<float>(other), contains("kernel_size 3, stride 1, dilation 1 and groups 1"));
    other.algorithm = heed::Conv2dAlgorithm::automatic;
    CHECK_NOTHROW(Conv2d<float>(other));
  }
}

TEST_CASE("Conv2d: weight and bias start within torch's bound and fill it") {
  const Conv2d<double> layer({.in_channels = 6, .out_channels = 96, .kernel_size = {3, 2}, .groups = 2});
  const double bound = 1 / std::sqrt(6.0 / 2 * 3 * 2);  // 1 / √(in / groups · height · width)
  for (const auto* parameter : {&layer.weight(), &layer.bias()}) {
    double largest = 0;
    for (Index i = 0; i < parameter->size(); ++i) largest = std::max(largest, std::abs(parameter->value()[i]));
    CHECK(largest <= bound);
    CHECK(largest > 0.9 * bound);
  }
}

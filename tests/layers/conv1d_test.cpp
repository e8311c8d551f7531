// SPDX-License-Identifier: MIT
#include <heed/layers/conv1d.hpp>
#include <heed/testing/check_gradients.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

using heed::Conv1d;
using heed::Conv1dOptions;
using heed::Index;
using heed::Shape;
using heed::Tensor;

TEST_CASE("Conv1d: certificate for every option and awkward shapes") {
  struct Case {
    Conv1dOptions options;
    Shape x;
  };
  const Case cases[] = {
      {{.in_channels = 1, .out_channels = 1}, {1, 1, 1}},
      {{.in_channels = 2, .out_channels = 3, .kernel_size = 3, .padding = 1}, {2, 5, 2}},
      {{.in_channels = 2, .out_channels = 3, .kernel_size = 3, .padding = 1, .bias = false}, {1, 1, 2}},
      {{.in_channels = 3, .out_channels = 2, .kernel_size = 3, .padding = {2, 0}}, {2, 6, 3}},  // causal
      {{.in_channels = 3, .out_channels = 2, .kernel_size = 3, .stride = 2, .padding = {0, 3}, .dilation = 3}, {2, 8, 3}},
      {{.in_channels = 2, .out_channels = 2, .kernel_size = 2, .stride = 5}, {1, 11, 2}},
      {{.in_channels = 4, .out_channels = 6, .kernel_size = 3, .padding = 1, .groups = 2}, {2, 4, 4}},
      {{.in_channels = 3, .out_channels = 6, .kernel_size = 2, .stride = 2, .groups = 3}, {1, 5, 3}},
      {{.in_channels = 5, .out_channels = 5, .kernel_size = 3, .stride = 2, .padding = {1, 2}, .dilation = 2, .groups = 5}, {2, 9, 5}},
      {{.in_channels = 9, .out_channels = 17, .kernel_size = 2}, {1, 3, 9}},
  };
  for (const Case& example : cases) {
    auto report = heed::check_gradients(Conv1d<double>(example.options), example.x);
    INFO(example.x.to_string() << ' ' << report.to_string());
    CHECK(report.passed());
  }
}

TEMPLATE_TEST_CASE("Conv1d: the equation, term by term", "", float, double) {
  const Conv1dOptions options{
      .in_channels = 6, .out_channels = 4, .kernel_size = 3, .stride = 2, .padding = {3, 1}, .dilation = 2, .groups = 2};
  const auto layer = reference::with_random_parameters(Conv1d<TestType>(options), 3);
  const auto x = reference::random_tensor<TestType, 3>({2, 9, 6}, 4);
  const auto y = layer.forward(x);
  REQUIRE(y.shape() == Shape{2, 5, 4});
  for (Index n = 0; n < 2; ++n)
    for (Index t = 0; t < 5; ++t)
      for (Index o = 0; o < 4; ++o) {
        double sum = static_cast<double>(layer.bias().value()[o]);
        for (Index i = 0; i < 3; ++i)
          for (Index k = 0; k < 3; ++k) {
            const Index at = t * 2 + k * 2 - 3;
            if (at < 0 || at >= 9) continue;
            sum += static_cast<double>(x(n, at, o / 2 * 3 + i)) * static_cast<double>(layer.weight().value()[(o * 3 + i) * 3 + k]);
          }
        CHECK(static_cast<double>(y(n, t, o)) == Approx(sum).margin(std::is_same_v<TestType, float> ? 1e-6 : 1e-14));
      }
}

TEST_CASE("Conv1d: with {kernel_size - 1, 0} no token sees a later one") {
  const Conv1d<float> layer({.in_channels = 3, .out_channels = 5, .kernel_size = 4, .padding = {3, 0}});
  auto x = reference::random_tensor<float, 3>({1, 9, 3}, 1);
  const auto before = layer.forward(x);
  REQUIRE(before.shape() == Shape{1, 9, 5});
  for (Index i = 6 * 3; i < 9 * 3; ++i) x.data()[i] += 1;
  const auto after = layer.forward(x);
  CHECK(std::equal(before.data(), before.data() + 6 * 5, after.data()));
  CHECK(before[6 * 5] != after[6 * 5]);
}

TEST_CASE("Conv1d: parameters have torch's names and shapes, errors are sentences") {
  Conv1d<float> layer({.in_channels = 4, .out_channels = 6, .kernel_size = 3, .stride = 2, .padding = {2, 0}, .groups = 2});
  struct Seen : heed::Visitor<float> {
    std::string all;
    using heed::Visitor<float>::option;
    using heed::Visitor<float>::parameter;
    void kind(std::string_view name) override { all += std::string(name) + ' '; }
    void option(std::string_view name, const std::string& value) override { all += std::string(name) + '=' + value + ' '; }
    void parameter(std::string_view name, const heed::Parameter<float>& p) override { all += heed::text(name, ' ', p.shape(), ' '); }
  } seen;
  std::as_const(layer).describe(seen);
  CHECK(seen.all ==
        "Conv1d in_channels=4 out_channels=6 kernel_size=3 stride=2 padding=2,0 dilation=1 groups=2 bias=true input_gradient=true "
        "weight 6x2x3 bias 6 ");
  CHECK(layer.output_shape({8, 10, 4}) == Shape{8, 5, 6});
  CHECK_THROWS_WITH(
      layer.forward(Tensor<float, 3>({8, 10, 3})), "Conv1d: input has 3 channels, weight expects 4 (input 8x10x3, weight 6x2x3, groups 2)");
  CHECK_THROWS_WITH(layer.output_shape({8, 10, 10, 4}), contains("Conv1d: input 8x10x10x4 has 4 axes"));
  CHECK_THROWS_WITH(Conv1d<float>({.in_channels = 3, .out_channels = 4, .groups = 2}),
      "Conv1d: in_channels (3) and out_channels (4) must be positive multiples of groups (2)");
  Conv1d<float>::Cache cache;
  const Tensor<float, 3> dy({1, 1, 6});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("Conv1d: backward follows one forward"));
}

// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/attention_fusion.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::largest_difference;
using reference::random_tensor;
using reference::same_bits;
using reference::with_random_parameters;

namespace {

constexpr AttentionKind kKinds[] = {AttentionKind::full, AttentionKind::identity, AttentionKind::uniform};

void certify(const AttentionFusionOptions& options, const Shape& shape) {
  const auto report = check_gradients(with_random_parameters(AttentionFusion<double>(options), 2), shape);
  INFO(report.to_string());
  CHECK(report.passed());
}

/// Where the table of relative positions has query i and key j: Swin's order on a map, the distance among tokens.
Index row_of(const AttentionFusionOptions& o, Index i, Index j) {
  if (o.height == 0) return j - i + o.tokens - 1;
  return (i / o.width - j / o.width + o.height - 1) * (2 * o.width - 1) + (i % o.width - j % o.width + o.width - 1);
}

/// The block as section 2 of its paper writes it, token by token, in double.
template <class T>
Tensor<double, 3> by_the_formulas(AttentionFusion<T>& layer, const Tensor<T, 3>& x) {
  const auto& options = layer.options();
  const Index sequences = x.size(0), tokens = x.size(1), width = x.size(2), heads = options.num_heads, head = width / heads;
  const Tensor<T, 3> u = layer.position().forward(layer.norm().forward(x)), qkv = layer.qkv().forward(u);
  Tensor<double, 3> y({sequences, tokens, width});
  for (Index n = 0; n < sequences; ++n) {
    Tensor<double, 2> context({tokens, width});
    for (Index h = 0; h < heads; ++h)
      for (Index i = 0; i < tokens; ++i) {
        std::vector<double> a(static_cast<std::size_t>(tokens));
        double sum = 0;
        for (Index j = 0; j < tokens; ++j) {
          double score = 0;
          for (Index d = 0; d < head; ++d)
            score += static_cast<double>(qkv(n, i, h * head + d)) * static_cast<double>(qkv(n, j, width + h * head + d));
          score /= std::sqrt(static_cast<double>(head));
          if (options.relative_bias) score += static_cast<double>(layer.relative()->weight().value()[row_of(options, i, j) * heads + h]);
          double& weight = a[static_cast<std::size_t>(j)];
          weight = options.attention == AttentionKind::full       ? std::exp(score)
                   : options.attention == AttentionKind::identity ? (i == j ? 1.0 : 0.0)
                                                                  : 1.0;
          sum += weight;
        }
        for (Index j = 0; j < tokens; ++j)
          for (Index d = 0; d < head; ++d)
            context(i, h * head + d) += a[static_cast<std::size_t>(j)] / sum * static_cast<double>(qkv(n, j, 2 * width + h * head + d));
      }
    for (Index i = 0; i < tokens; ++i)
      for (Index c = 0; c < width; ++c) {
        const T* w = layer.out().weight().value() + c * 2 * width;
        y(n, i, c) = static_cast<double>(x(n, i, c)) + static_cast<double>(layer.out().bias().value()[c]);
        for (Index d = 0; d < width; ++d)
          y(n, i, c) += static_cast<double>(w[d]) * context(i, d) + static_cast<double>(w[width + d]) * static_cast<double>(u(n, i, d));
      }
  }
  return y;
}

}  // namespace

TEST_CASE("attention fusion is certified on maps and on tokens") {
  for (AttentionKind kind : kKinds) {
    certify({.features = 4, .num_heads = 2, .height = 2, .width = 3, .attention = kind}, {2, 2, 3, 4});
    certify({.features = 6, .num_heads = 3, .tokens = 5, .attention = kind, .qkv_bias = true}, {2, 5, 6});
    certify({.features = 3, .num_heads = 1, .tokens = 1, .attention = kind}, {2, 1, 3});  // one token
    certify({.features = 2, .num_heads = 2, .tokens = 4, .attention = kind}, {1, 3, 2});  // heads of one feature
  }
  certify({.features = 4, .num_heads = 2, .tokens = 15}, {1, 15, 4});  // a tile of queries and one more
  certify({.features = 8, .num_heads = 2, .height = 3, .width = 3}, {1, 9, 8});
}

TEST_CASE("attention fusion is certified with a bias of relative positions") {
  for (double p : {0.0, 0.3}) {
    certify({.features = 4, .num_heads = 2, .height = 2, .width = 3, .dropout = p, .relative_bias = true}, {2, 2, 3, 4});
    certify({.features = 6, .num_heads = 3, .tokens = 5, .dropout = p, .relative_bias = true}, {3, 5, 6});
    certify({.features = 4, .num_heads = 1, .tokens = 7, .dropout = p, .relative_bias = true}, {2, 4, 4});  // fewer than there may be
    certify({.features = 3, .num_heads = 1, .tokens = 1, .dropout = p, .relative_bias = true}, {2, 1, 3});
  }
  certify(
      {.features = 4, .num_heads = 2, .height = 4, .width = 5, .attention = AttentionKind::uniform, .relative_bias = true}, {2, 4, 5, 4});
}

TEST_CASE("attention fusion is certified with every position encoding, dropout, and frozen parts") {
  for (PositionKind kind : {PositionKind::sine, PositionKind::learned})
    for (PositionUse use : {PositionUse::added, PositionUse::multiplied})
      certify({.features = 4, .num_heads = 2, .height = 2, .width = 2, .position = kind, .position_use = use}, {2, 2, 2, 4});
  for (double p : {0.3, 1.0}) certify({.features = 4, .num_heads = 2, .tokens = 6, .dropout = p}, {2, 6, 4});
  auto frozen = with_random_parameters(AttentionFusion<double>({.features = 4, .num_heads = 2, .tokens = 3, .relative_bias = true}), 1);
  frozen.freeze();
  const auto report = check_gradients(frozen, Shape{2, 3, 4});
  INFO(report.to_string());
  CHECK(report.passed());
}

TEST_CASE("attention fusion against its formulas") {
  for (AttentionKind kind : kKinds) {
    auto layer = with_random_parameters(AttentionFusion<float>({.features = 24, .num_heads = 3, .tokens = 50, .attention = kind}), 1);
    auto wide = with_random_parameters(AttentionFusion<double>({.features = 24, .num_heads = 3, .tokens = 50, .attention = kind}), 1);
    for (Index tokens : {1, 13, 14, 15, 49}) {
      const auto x = random_tensor<float, 3>({2, tokens, 24}, 1);
      CHECK(largest_difference(layer.forward(x), by_the_formulas(layer, x)) < 1e-5);
      const auto x_wide = random_tensor<double, 3>({2, tokens, 24}, 1);
      CHECK(largest_difference(wide.forward(x_wide), by_the_formulas(wide, x_wide)) < 1e-13);
    }
  }
}

TEST_CASE("a bias of relative positions against the formulas, in inference and in training") {
  for (const AttentionFusionOptions& options :
      {AttentionFusionOptions{.features = 24, .num_heads = 3, .height = 5, .width = 7, .relative_bias = true},
          AttentionFusionOptions{.features = 24, .num_heads = 3, .tokens = 35, .relative_bias = true}}) {
    auto layer = with_random_parameters(AttentionFusion<double>(options), 1);
    const auto x = random_tensor<double, 3>({2, 35, 24}, 1);
    const auto y = by_the_formulas(layer, x);
    CHECK(largest_difference(layer.forward(x), y) < 1e-13);
    AttentionFusion<double>::Cache cache;
    CHECK(largest_difference(layer.forward(x, cache), y) < 1e-13);
    std::fill_n(layer.relative()->weight().value(), layer.relative()->weight().size(), 0.0);
    CHECK(largest_difference(layer.forward(x), y) > 1e-3);  // it had an effect
  }
}

TEST_CASE("a fresh block is the identity") {
  const AttentionFusion<float> layer({.features = 8, .num_heads = 2, .height = 3, .width = 3});
  const auto x = random_tensor<float, 4>({2, 3, 3, 8}, 1);
  CHECK(same_bits(layer.forward(x), x));
  const AttentionFusion<float> other({.features = 8, .num_heads = 2, .height = 3, .width = 3, .out_weight = Initializer::normal});
  CHECK(!same_bits(other.forward(x), x));
  CHECK(largest_difference(other.forward(x), x) < 0.5);
}

TEST_CASE("the weights are returned on request, and change nothing") {
  for (AttentionKind kind : kKinds) {
    const auto layer = with_random_parameters(
        AttentionFusion<float>(
            {.features = 8, .num_heads = 2, .height = 7, .width = 7, .attention = kind, .dropout = 0.5, .relative_bias = true}),
        1);
    const auto x = random_tensor<float, 4>({2, 7, 7, 8}, 1);
    const auto weights = layer.attention_weights(x);
    REQUIRE(weights.shape() == Shape{2, 2, 49, 49});
    for (Index row = 0; row < weights.rows(); ++row) {
      float sum = 0;
      for (Index j = 0; j < 49; ++j) {
        const float w = weights[row * 49 + j];
        CHECK(w >= 0);
        sum += w;
        if (kind == AttentionKind::identity) CHECK(w == (row % 49 == j ? 1.0f : 0.0f));
        if (kind == AttentionKind::uniform) CHECK(w == Approx(1.0 / 49));
      }
      CHECK(sum == Approx(1).margin(1e-5));
    }
  }
}

TEST_CASE("an observer sees the weights of inference passes") {
  struct Keep final : AttentionObserver {
    Tensor<float, 4> weights;
    using AttentionObserver::seen;
    void seen(const TensorView<const float, 4>& w) override { weights = Tensor<float, 4>(w); }
  };
  for (AttentionKind kind : kKinds) {
    const auto layer = with_random_parameters(
        AttentionFusion<float>({.features = 8, .num_heads = 2, .height = 5, .width = 5, .attention = kind, .relative_bias = true}), 1);
    const auto x = random_tensor<float, 4>({3, 5, 5, 8}, 1);
    const auto before = layer.forward(x);
    Keep keep;
    CHECK(same_bits(layer.forward(x), before));
    CHECK(same_bits(keep.weights, layer.attention_weights(x)));
  }
}

TEST_CASE("a map and its tokens are the same thing") {
  const auto layer = with_random_parameters(AttentionFusion<float>({.features = 8, .num_heads = 2, .height = 3, .width = 5}), 1);
  const auto x = random_tensor<float, 4>({2, 3, 5, 8}, 1);
  CHECK(same_bits(layer.forward(x), layer.forward(x.reshaped<3>({2, 15, 8}))));
}

TEST_CASE("attention fusion keeps the rules of layers") {
  for (AttentionKind kind : kKinds) {
    reference::check_layer_rules<4>(
        with_random_parameters(
            AttentionFusion<float>({.features = 64, .num_heads = 4, .height = 7, .width = 7, .attention = kind, .dropout = 0.1}), 1),
        {9, 7, 7, 64});
    reference::check_layer_rules<3>(
        with_random_parameters(AttentionFusion<float>({.features = 16, .num_heads = 1, .tokens = 200, .attention = kind}), 1),
        {2, 200, 16});
  }
}

TEST_CASE("attention fusion names its parameters and says what does not fit") {
  AttentionFusion<float> layer(
      {.features = 8, .num_heads = 2, .height = 3, .width = 3, .position = PositionKind::learned, .relative_bias = true, .qkv_bias = true});
  std::string names;
  layer.parameters([&](const std::string& name, const Parameter<float>&) { names += name + " "; });
  CHECK(names == "norm.weight norm.bias position.weight qkv.weight qkv.bias out.weight out.bias relative.relative_position_bias_table ");
  CHECK(layer.activation_products({2, 3, 3, 8}) == 2.0 * 2 * 9 * 9 * 8);
  CHECK_THROWS_WITH(layer.output_shape({2, 3, 4, 8}), contains("PositionalEncoding: input is 2x3x4x8"));
  CHECK_THROWS_WITH(layer.output_shape({9, 8}), contains("AttentionFusion: input 9x8 is neither"));
  CHECK_THROWS_WITH(layer.output_shape({2, 1, 3, 3, 8}), contains("AttentionFusion: input 2x1x3x3x8 is neither"));
  CHECK_THROWS_WITH(AttentionFusion<float>({.features = 9, .num_heads = 2, .tokens = 3}), contains("features (9) must be a multiple"));
  CHECK_THROWS(AttentionFusion<float>({.features = 8, .num_heads = 2, .tokens = 3, .dropout = 2}));
}

TEST_CASE("fusion refuses a cache that no forward has filled, or that was used") {
  AttentionFusion<float> layer({.features = 1, .tokens = 1});
  AttentionFusion<float>::Cache cache;
  const Tensor<float, 3> x({1, 1, 1});
  CHECK_THROWS_WITH(layer.backward(x, cache), contains("AttentionFusion: backward follows one forward"));
  layer.forward(x, cache);
  CHECK_NOTHROW(layer.backward(x, cache));
  CHECK_THROWS_WITH(layer.backward(x, cache), contains("has been used already"));
}

TEST_CASE("what a fusion block is asked for reaches its parts, and its projection starts Xavier-uniform") {
  const SeedScope seed(1);
  AttentionFusion<double> layer({.features = 32,
      .num_heads = 2,
      .tokens = 50,
      .position = PositionKind::learned,
      .position_use = PositionUse::multiplied,
      .out_weight = Initializer::constant,
      .out_weight_value = 0.5,
      .eps = 0.25});
  CHECK(layer.position().options().use == PositionUse::multiplied);
  CHECK(layer.norm().options().eps == 0.25);
  CHECK(layer.out().weight().value()[7] == 0.5);
  const auto& w = layer.qkv().weight();
  CHECK(*std::max_element(w.value(), w.value() + w.size()) == Approx(std::sqrt(6.0 / (96 + 32))).epsilon(0.01));
}

TEST_CASE("attention fusion: output_shape and forward refuse and accept the same maps") {
  const AttentionFusion<double> row({.features = 4, .num_heads = 2, .tokens = 3, .relative_bias = true});
  CHECK(row.output_shape({1, 3, 1, 4}) == Shape{1, 3, 1, 4});
  for (const Shape& in : {Shape{1, 2, 3, 4}, Shape{1, 4, 1, 4}}) CHECK_THROWS_AS(row.output_shape(in), ShapeError);
  CHECK_THROWS_AS(row.forward(random_tensor<double, 4>({1, 2, 3, 4}, 1)), ShapeError);
  CHECK(row.output_shape({1, 0, 4}) == Shape{1, 0, 4});
  CHECK(row.forward(Tensor<double, 3>({1, 0, 4})).shape() == Shape{1, 0, 4});
  const AttentionFusion<double> map({.features = 4, .num_heads = 2, .height = 2, .width = 3});
  CHECK(map.output_shape({1, 2, 3, 4}) == Shape{1, 2, 3, 4});
  CHECK_THROWS_AS(map.output_shape({1, 3, 2, 4}), ShapeError);
}

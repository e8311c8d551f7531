// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include "reference/described.hpp"
#include "reference/layer_rules.hpp"

#include <heed/layers/transformer_encoder_layer.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;
using reference::largest_difference;
using reference::random_tensor;
using reference::same_bits;
using reference::with_random_parameters;
using Options = TransformerEncoderLayerOptions;

namespace {

void certify(const Options& options, const Shape& shape) {
  const auto report = check_gradients(with_random_parameters(TransformerEncoderLayer<double>(options), 2), shape);
  INFO(report.to_string());
  CHECK(report.passed());
}

}  // namespace

TEST_CASE("encoder layers are certified: both orders of norms, both activations") {
  for (bool norm_first : {false, true})
    for (FeedForwardActivation activation : {FeedForwardActivation::relu, FeedForwardActivation::gelu}) {
      const Options plain{.d_model = 4, .nhead = 2, .dim_feedforward = 5, .dropout = 0, .activation = activation, .norm_first = norm_first};
      certify(plain, {2, 3, 4});
      certify(plain, {1, 1, 4});  // one token
      Options dropout = plain;
      dropout.dropout = 0.3;
      certify(dropout, {2, 3, 4});
      Options causal = plain;
      causal.causal = true, causal.bias = false;
      certify(causal, {2, 5, 4});
      causal.num_kv_heads = 1, causal.rotary = RotaryEmbeddingOptions{};
      certify(causal, {2, 3, 4});
    }
}

TEST_CASE("inference and training agree without dropout, masks included") {
  Tensor<bool, 2> keys({2, 6});
  keys.fill(true);
  keys(1, 4) = keys(1, 5) = false;  // the second sequence ends after four tokens
  AttentionMask<float> mask;
  mask.attend_keys = keys;
  for (bool norm_first : {false, true}) {
    const auto layer = with_random_parameters(
        TransformerEncoderLayer<float>({.d_model = 8, .nhead = 2, .dim_feedforward = 12, .dropout = 0, .norm_first = norm_first}), 1);
    auto x = random_tensor<float, 3>({2, 6, 8}, 1);
    TransformerEncoderLayer<float>::Cache cache;
    const auto y = layer.forward(x, mask);
    CHECK(same_bits(layer.forward(x, mask, cache), y));
    // What lies in the padding changes no other token.
    for (Index c = 0; c < 8; ++c) x(1, 4, c) = x(1, 5, c) = 3;
    const auto other = layer.forward(x, mask);
    CHECK(same_bits(other.slice(0, 1), y.slice(0, 1)));
    for (Index t = 0; t < 4; ++t)
      for (Index c = 0; c < 8; ++c) CHECK(other(1, t, c) == y(1, t, c));
  }
}

TEST_CASE("the layer is its parts in the order of the formula") {
  const Options options{.d_model = 8, .nhead = 2, .dim_feedforward = 12, .activation = FeedForwardActivation::gelu, .norm_first = true};
  auto layer = with_random_parameters(TransformerEncoderLayer<double>(options), 1);
  const auto x = random_tensor<double, 3>({2, 3, 8}, 1);
  // With a feed-forward net and an output projection of zeros nothing is added to x.
  for (auto& [name, parameter] : named_parameters(layer))
    if (name.starts_with("linear2") || name.starts_with("self_attn.out_proj")) std::fill_n(parameter->value(), parameter->size(), 0.0);
  CHECK(same_bits(layer.forward(x), x));
}

TEST_CASE("causal layers do not see later tokens") {
  for (bool norm_first : {false, true}) {
    const auto layer = with_random_parameters(
        TransformerEncoderLayer<float>({.d_model = 8, .nhead = 2, .dim_feedforward = 9, .norm_first = norm_first, .causal = true}), 1);
    auto x = random_tensor<float, 3>({1, 5, 8}, 1);
    const auto before = layer.forward(x);
    x(0, 3, 2) = 5;
    const auto after = layer.forward(x);
    for (Index t = 0; t < 3; ++t)
      for (Index c = 0; c < 8; ++c) CHECK(after(0, t, c) == before(0, t, c));
    CHECK(after(0, 4, 0) != before(0, 4, 0));
  }
}

TEST_CASE("the four masks of dropout differ, and inference has none") {
  const Options options{.d_model = 64, .nhead = 2, .dim_feedforward = 64, .dropout = 0.5};
  const auto layer = with_random_parameters(TransformerEncoderLayer<float>(options), 1);
  const auto x = random_tensor<float, 3>({1, 4, 64}, 1);
  StepScope step(1, 1);
  TransformerEncoderLayer<float>::Cache cache;
  layer.forward(x, cache);
  const std::uint64_t keys[] = {cache.dropout.key(), cache.dropout1.key(), cache.dropout2.key(), cache.self_attn.dropout.key()};
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < i; ++j) CHECK(keys[i] != keys[j]);
  CHECK(same_bits(layer.forward(x), layer.forward(x)));
}

TEST_CASE("encoder layers keep the rules of layers") {
  for (bool norm_first : {false, true})
    reference::check_layer_rules<3>(
        with_random_parameters(
            TransformerEncoderLayer<float>(
                {.d_model = 32, .nhead = 4, .dim_feedforward = 64, .activation = FeedForwardActivation::gelu, .norm_first = norm_first}),
            1, -0.2, 0.2),
        {5, 65, 32});
}

TEST_CASE("parameters have torch's names, and what does not fit is said") {
  TransformerEncoderLayer<float> layer({.d_model = 8, .nhead = 2, .dim_feedforward = 16});
  std::string names;
  layer.parameters([&](const std::string& name, const Parameter<float>&) { names += name + " "; });
  CHECK(names ==
        "self_attn.in_proj_weight self_attn.in_proj_bias self_attn.out_proj.weight self_attn.out_proj.bias linear1.weight linear1.bias "
        "linear2.weight linear2.bias norm1.weight norm1.bias norm2.weight norm2.bias ");
  CHECK_THROWS_WITH(layer.output_shape({2, 3, 9}), contains("TransformerEncoderLayer: input 2x3x9"));
  CHECK_THROWS_WITH(TransformerEncoderLayer<float>({.d_model = 9, .nhead = 2}), contains("d_model (9)"));
}

TEST_CASE("TransformerEncoderLayer refuses a cache that no forward has filled") {
  TransformerEncoderLayer<float> layer({.d_model = 2, .dim_feedforward = 3});
  TransformerEncoderLayer<float>::Cache cache;
  const Tensor<float, 3> dy({1, 1, 2});
  CHECK_THROWS_WITH(layer.backward(dy, cache), contains("TransformerEncoderLayer: backward follows one forward"));
  CHECK_THROWS_WITH(TransformerEncoderLayer<float>({.d_model = 2, .dim_feedforward = -3}),
      contains("TransformerEncoderLayer: dim_feedforward (-3) must be positive"));

  for (bool norm_first : {false, true}) {
    TransformerEncoderLayer<float> twice({.d_model = 2, .dim_feedforward = 3, .norm_first = norm_first});
    const auto x = random_tensor<float, 3>({1, 2, 2}, 1);
    twice.forward(x, cache);
    twice.backward(x, cache);
    std::vector<float> gradients;
    const auto list = [&] {
      gradients.clear();
      for (const auto& [name, p] : named_parameters(twice)) gradients.insert(gradients.end(), p->gradient(), p->gradient() + p->size());
      return gradients;
    };
    const auto once = list();
    CHECK_THROWS_WITH(twice.backward(x, cache), contains("TransformerEncoderLayer") && contains("has been used already"));
    CHECK(list() == once);
  }
}

TEST_CASE("dropout falls on both branches and behind the activation") {
  TransformerEncoderLayer<double> layer({.d_model = 40, .nhead = 1, .dim_feedforward = 40, .dropout = 0.5, .norm_first = true});
  const auto x = random_tensor<double, 3>({5, 20, 40}, 1);
  // All parameters but one bias are zero, so what a branch adds to x is the same number everywhere, dropped or doubled: shares of 0, 2 and 4.
  const auto shares = [&](const std::string& bias, bool through) {
    for (auto& [name, p] : named_parameters(layer)) {
      std::fill_n(p->value(), p->size(), name == bias ? 1.0 : 0.0);
      for (Index i = 0; i < 40 && through && name == "linear2.weight"; ++i) p->value()[41 * i] = 1;
    }
    const StepScope step(1, 1);
    TransformerEncoderLayer<double>::Cache cache;
    const auto y = layer.forward(x, cache);
    std::array<double, 3> found{};
    for (Index i = 0; i < y.size(); ++i)
      for (std::size_t k = 0; k < 3; ++k) found[k] += std::abs(y[i] - x[i] - 2.0 * static_cast<double>(k)) < 1e-12 ? 1 / 4000.0 : 0;
    return found;
  };
  const auto near = [](double share) { return Approx(share).margin(0.04); };  // five standard deviations of 4000 draws
  for (const char* bias : {"self_attn.out_proj.bias", "linear2.bias"}) {
    const auto found = shares(bias, false);
    CHECK((found[0] == near(0.5) && found[1] == near(0.5)));
  }
  const auto twice = shares("linear1.bias", true);  // behind the activation, and once more as a branch
  CHECK((twice[0] == near(0.75) && twice[2] == near(0.25)));
}

TEST_CASE("what an encoder layer is asked for reaches its parts") {
  const std::string all = reference::described(TransformerEncoderLayer<float>({.d_model = 8,
      .nhead = 4,
      .dim_feedforward = 5,
      .layer_norm_eps = 0.25,
      .bias = false,
      .num_kv_heads = 2,
      .rotary = RotaryEmbeddingOptions{.base = 50},
      .alibi = true}));
  INFO(all);
  for (const char* part : {"num_kv_heads=2 alibi=true ", "RotaryEmbedding head_dim=2 ", "base=50 "}) CHECK_THAT(all, contains(part));
  const std::string norm = "LayerNorm normalized_shape=8 eps=0.25 elementwise_affine=true bias=false ";
  CHECK(all.find(norm) != all.rfind(norm));  // both norms
}

TEST_CASE("a cache whose last forward refused its mask has nothing for backward") {
  for (const bool norm_first : {false, true}) {
    const auto x = random_tensor<double, 3>({1, 3, 8}, 1), other = random_tensor<double, 3>({1, 3, 8}, 2);
    auto layer = with_random_parameters(
        TransformerEncoderLayer<double>({.d_model = 8, .nhead = 2, .dim_feedforward = 4, .dropout = 0, .norm_first = norm_first}), 3);
    TransformerEncoderLayer<double>::Cache cache;
    const auto y = layer.forward(x, cache);
    const Tensor<bool, 2> wrong({4, 4});
    CHECK_THROWS_AS(layer.forward(other, {.attend = wrong}, cache), ShapeError);
    CHECK_THROWS_WITH(layer.backward(y, cache), contains("never filled"));
    for (const auto& [name, parameter] : named_parameters(layer)) {  // nor is any gradient touched
      INFO(name);
      CHECK(std::all_of(parameter->gradient(), parameter->gradient() + parameter->size(), [](double g) { return g == 0; }));
    }
  }
}

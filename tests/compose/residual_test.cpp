// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/multi_head_attention.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

TEST_CASE("Residual adds its input to the branch") {
  const Residual block(Linear<double>({3, 3}));
  Tensor<double, 2> x({2, 3});
  for (Index i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
  const auto branch = block.branch().forward(x), y = block.forward(x);
  for (Index i = 0; i < y.size(); ++i) REQUIRE(y[i] == branch[i] + x[i]);
}

TEST_CASE("Residual has exact gradients, alone and nested") {
  for (const Shape& shape : {Shape{1, 3}, Shape{6, 3}, Shape{2, 2, 3}}) {
    const auto report =
        check_gradients(Residual(Sequential(Linear<double>({3, 7}), Residual(Linear<double>({7, 7})), Linear<double>({7, 3}))), shape);
    INFO(report.to_string());
    REQUIRE(report.passed());
  }
}

TEST_CASE("Residual refuses a branch that changes the shape") {
  const Residual block(Linear<double>({3, 4}));
  Tensor<double, 2> x({2, 3});
  REQUIRE_THROWS_WITH(block.forward(x), contains("the branch turns 2x3 into 2x4"));
}

TEST_CASE("Residual leaves its input gradient out where its branch does, and the layer before says so") {
  using Conv = Conv2d<float>;
  Residual block(Sequential(
      Conv({.in_channels = 2, .out_channels = 3, .input_gradient = false}), named("out", Conv({.in_channels = 3, .out_channels = 2}))));
  const Tensor<float, 4> x({1, 2, 2, 2});
  decltype(block)::Cache cache;
  const auto y = block.forward(x, cache);
  REQUIRE(block.backward(y, cache).empty());
  REQUIRE(block.branch().get<0>().weight().has_gradient());

  const Tensor<float, 4> one({1, 1, 1, 2});  // one row
  Sequential misplaced(Conv({.in_channels = 2, .out_channels = 2}), block);
  decltype(misplaced)::Cache another;
  const auto z = misplaced.forward(one, another);
  REQUIRE_THROWS_WITH(misplaced.backward(z, another), contains("0: Conv2d: dy is empty"));
}

TEST_CASE("Residual with a shortcut adds both ways, with exact gradients") {
  Residual block(Sequential(Linear<double>({3, 7}), Linear<double>({7, 5})), Linear<double>({3, 5}));
  const auto x = reference::random_tensor<double, 2>({4, 3}, 1);
  const auto branch = block.branch().forward(x), shortcut = block.shortcut().forward(x), y = block.forward(x);
  for (Index i = 0; i < y.size(); ++i) REQUIRE(y[i] == branch[i] + shortcut[i]);
  std::string names;
  for (const auto& [name, parameter] : named_parameters(block)) names += name + ' ';
  CHECK(names == "branch.0.weight branch.0.bias branch.1.weight branch.1.bias shortcut.weight shortcut.bias ");

  // The block with which a residual net halves its maps, alone and in a row with another.
  using Conv = Conv2d<double>;
  const auto down = [](Index from, Index to) {
    return Residual(Sequential(Conv({.in_channels = from, .out_channels = to, .kernel_size = 3, .stride = 2, .padding = 1}),
                        Conv({.in_channels = to, .out_channels = to, .kernel_size = 3, .padding = 1})),
        Conv({.in_channels = from, .out_channels = to, .kernel_size = 1, .stride = 2, .bias = false}));
  };
  for (const Shape& shape : {Shape{2, 5, 4, 3}, Shape{1, 1, 1, 3}}) {
    const auto report = check_gradients(Sequential(down(3, 2), down(2, 4)), shape);
    INFO(report.to_string());
    CHECK(report.passed());
  }
  CHECK_THROWS_WITH(Residual(Conv({.in_channels = 3, .out_channels = 4, .kernel_size = 3}), Conv({.in_channels = 3, .out_channels = 4}))
                        .output_shape({1, 5, 5, 3}),
      contains("the branch turns 1x5x5x3 into 1x3x3x4, the shortcut into 1x5x5x4"));
}

TEST_CASE("Residual with a shortcut: a way that leaves its input gradient out") {
  using Conv = Conv2d<float>;
  const auto conv = [](bool gradient) { return Conv({.in_channels = 2, .out_channels = 3, .input_gradient = gradient}); };
  for (int which = 0; which < 4; ++which) {
    Residual block(conv(which % 2 == 1), conv(which / 2 == 1));
    const auto x = reference::random_tensor<float, 4>({1, 2, 2, 2}, 1);
    decltype(block)::Cache cache;
    const auto y = block.forward(x, cache);
    CHECK(block.backward(y, cache).empty() == (which != 3));
    CHECK(block.branch().weight().has_gradient());
    CHECK(block.shortcut().weight().has_gradient());
  }
}

TEST_CASE("Residual with a shortcut writes token after token what it gives for all, and takes both ways back") {
  SeedScope seed(2);
  using Attention = MultiHeadAttention<double>;
  const Residual block(
      Attention({.embed_dim = 4, .num_heads = 2, .causal = true}), Attention({.embed_dim = 4, .num_heads = 1, .causal = true}));
  const auto x = reference::random_tensor<double, 3>({1, 5, 4}, 1);
  const auto whole = block.forward(x);
  auto state = block.decode_state(1, 8);
  for (Index t = 0; t < 5; ++t) {
    Tensor<double, 3> token({1, 1, 4});
    std::copy_n(x.data() + 4 * t, 4, token.data());
    if (t == 3) {  // one that is taken back
      static_cast<void>(block.decode(token, state));
      state.truncate(3);
    }
    const auto y = block.decode(token, state);
    for (Index c = 0; c < 4; ++c) CHECK(y[c] == Approx(whole[4 * t + c]).epsilon(1e-12));
  }
  CHECK(state.length() == 5);
}

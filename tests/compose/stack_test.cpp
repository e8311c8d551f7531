// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/compose/residual.hpp>
#include <heed/compose/stack.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>
#include <heed/testing/check_gradients.hpp>

using namespace heed;

namespace {
Stack<Residual<Linear<double>>> stack_of(int count) {
  std::vector<Residual<Linear<double>>> blocks;
  for (int i = 0; i < count; ++i) blocks.emplace_back(Linear<double>({3, 3}));
  return Stack(std::move(blocks));
}
}  // namespace

TEST_CASE("Stack has exact gradients for any number of blocks") {
  for (int count : {0, 1, 2, 3}) {
    const auto report = check_gradients(stack_of(count), Shape{4, 3});
    INFO(count << " blocks: " << report.to_string());
    REQUIRE(report.passed());
  }
}

TEST_CASE("A stack's cache looks into itself: it moves, and is not copied") {
  using Cache = Stack<Linear<double>>::Cache;
  STATIC_REQUIRE(!std::is_copy_constructible_v<Cache>);
  STATIC_REQUIRE((std::is_move_constructible_v<Cache> && std::is_move_assignable_v<Cache>));
}

TEST_CASE("An empty stack is the identity") {
  const auto stack = stack_of(0);
  Tensor<double, 2> x({1, 3});
  x.fill(2);
  REQUIRE(stack.forward(x)[2] == 2);
}

TEST_CASE("Stacked blocks keep the shape") {
  std::vector<Linear<double>> narrowing{Linear<double>({3, 2})};
  REQUIRE_THROWS_WITH(Stack(std::move(narrowing)).output_shape({1, 3}), contains("the block turns 1x3 into 1x2"));
}

TEST_CASE("Blocks have their own parameters and names") {
  auto stack = stack_of(2);
  std::string names;
  stack.parameters([&](const std::string& name, Parameter<double>&) { names += name + ' '; });
  REQUIRE(names == "0.branch.weight 0.branch.bias 1.branch.weight 1.branch.bias ");
  REQUIRE(stack[0].branch().weight().value()[0] != stack[1].branch().weight().value()[0]);
}

TEST_CASE("A stack's backward needs a cache that this stack's forward has just filled") {
  auto stack = stack_of(3), shorter = stack_of(2), empty = stack_of(0);
  Tensor<double, 2> x({1, 3});
  x.fill(1);
  decltype(stack)::Cache cache;
  REQUIRE_THROWS_WITH(stack.backward(x, cache), contains("Stack: backward follows one forward"));
  REQUIRE_THROWS_WITH(empty.backward(x, cache), contains("Stack: backward follows one forward"));
  shorter.forward(x, cache);
  REQUIRE_THROWS_WITH(stack.backward(x, cache), contains("filled by a stack of 2 blocks, this one has 3"));
  stack.forward(x, cache);
  REQUIRE_NOTHROW(stack.backward(x, cache));
  REQUIRE_THROWS_WITH(stack.backward(x, cache), contains("has been used already"));
  stack.forward(x, cache);
  const Tensor<double, 2> misfit({1, 2});
  REQUIRE_THROWS(stack.forward(misfit, cache));  // a forward that fails leaves nothing to go back through
  REQUIRE_THROWS_WITH(stack.backward(x, cache), contains("Stack: backward follows one forward"));
}

TEST_CASE("a mask goes to every block of a stack, forward and backward") {
  SeedScope seed(3);
  const TransformerEncoderLayerOptions options{.d_model = 6, .nhead = 2, .dim_feedforward = 8, .dropout = 0, .norm_first = true};
  std::vector<TransformerEncoderLayer<double>> blocks;
  for (int i = 0; i < 3; ++i) blocks.emplace_back(options);
  Stack stack(blocks);
  const std::vector<Index> lengths{2, 5};
  AttentionMask<double> mask;
  mask.key_lengths = lengths;
  const auto x = reference::random_tensor<double, 3>({2, 5, 6}, 1), dy = reference::random_tensor<double, 3>({2, 5, 6}, 2);

  decltype(blocks)::value_type::Cache own[3];
  const auto y0 = blocks[0].forward(x, mask, own[0]), y1 = blocks[1].forward(y0, mask, own[1]), y2 = blocks[2].forward(y1, mask, own[2]);
  const auto d2 = blocks[2].backward(dy, own[2]), d1 = blocks[1].backward(d2, own[1]), dx = blocks[0].backward(d1, own[0]);

  decltype(stack)::Cache cache;
  const auto y = stack.forward(x, mask, cache);
  CHECK(reference::same_bits(y, y2));
  CHECK(reference::same_bits(stack.forward(x, mask), y2));
  CHECK_FALSE(reference::same_bits(stack.forward(x), y2));
  CHECK(reference::same_bits(stack.backward(dy, cache), dx));
  const auto expected = named_parameters(blocks[1]), all = named_parameters(stack);
  for (const auto& [name, parameter] : expected)
    for (const auto& [other, got] : all)
      if (other == "1." + name) CHECK(std::equal(got->gradient(), got->gradient() + got->size(), parameter->gradient()));

  // What stands behind a sequence's end changes nothing before it.
  auto padded = x;
  for (Index i = 2 * 6; i < 5 * 6; ++i) padded[i] = 7;
  const auto other = stack.forward(padded, mask);
  CHECK(std::equal(other.data(), other.data() + 2 * 6, y.data()));
}

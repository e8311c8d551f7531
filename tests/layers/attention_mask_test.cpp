// SPDX-License-Identifier: MIT
#include <heed/layers/attention_mask.hpp>

#include "catch.hpp"

using namespace heed;

TEST_CASE("AttentionMask: axes broadcast from the last on", "[attention_mask]") {
  const Shape full{2, 3, 4, 5};
  const auto strides = [&](const Shape& shape) {
    Tensor<bool, 4> four;
    Tensor<bool, 2> two;
    kernels::MaskRef<const bool> r;
    if (shape.rank() == 2) two = Tensor<bool, 2>(shape), r = MaskView<bool>(two).broadcast("Test", "the mask", full);
    if (shape.rank() == 4) four = Tensor<bool, 4>(shape), r = MaskView<bool>(four).broadcast("Test", "the mask", full);
    return std::vector<Index>{r.batch, r.head, r.query, r.key};
  };
  CHECK(strides({2, 3, 4, 5}) == std::vector<Index>{60, 20, 5, 1});
  CHECK(strides({2, 1, 1, 5}) == std::vector<Index>{5, 0, 0, 1});
  CHECK(strides({1, 3, 4, 1}) == std::vector<Index>{0, 4, 1, 0});
  CHECK(strides({4, 5}) == std::vector<Index>{0, 0, 5, 1});
  CHECK(strides({1, 5}) == std::vector<Index>{0, 0, 0, 1});
  CHECK_THROWS_WITH(strides({4, 6}), contains("Test: the mask 4x6 does not fit the weights (batch, heads, queries, keys) = 2x3x4x5"));
  CHECK_THROWS_AS(strides({3, 1, 4, 5}), ShapeError);
}

TEST_CASE("AttentionMask: binding to a problem", "[attention_mask]") {
  kernels::Attention<float> a;
  a.batches = 2, a.heads = 3, a.queries = 4, a.keys = 5;
  AttentionMask<float>().bind("Test", a);
  CHECK((!a.mask && !a.key_mask && !a.bias));
  Tensor<bool, 2> keys({2, 5}), wrong({1, 5});
  Tensor<float, 1> bias({5});
  AttentionMask<float>{.attend_keys = keys, .bias = bias}.bind("Test", a);
  CHECK(a.key_mask.row(1, 2, 3) == keys.data() + 5);
  CHECK(a.bias.row(1, 2, 3) == bias.data());
  CHECK_THROWS_WITH(
      AttentionMask<float>{.attend_keys = wrong}.bind("Test", a), contains("the mask of keys is 1x5, it must be (batch, keys) = 2x5"));
}

TEST_CASE("TorchAttentionMask: true = masked out there, true = attend here", "[attention_mask]") {
  Tensor<bool, 2> padding({2, 3}), causal({2, 3});
  padding(1, 2) = true, causal(0, 1) = true;
  const TorchAttentionMask<float> torch(padding, MaskView<bool>(causal));
  const AttentionMask<float>& mask = torch.mask();
  CHECK(mask.attend_keys.shape() == Shape{2, 3});
  CHECK(mask.attend.shape() == Shape{1, 1, 2, 3});
  for (Index i = 0; i < 6; ++i) {
    CHECK(mask.attend_keys.data()[i] == (i != 5));
    CHECK(mask.attend.data()[i] == (i != 1));
  }
  Tensor<bool, 3> by_head({4, 2, 3});
  const TorchAttentionMask<float> heads({}, MaskView<bool>(by_head), 2);
  CHECK(heads.mask().attend.shape() == Shape{2, 2, 2, 3});
  CHECK_THROWS_AS(TorchAttentionMask<float>({}, MaskView<bool>(by_head), 3), ShapeError);
  Tensor<float, 3> bias({4, 2, 3});
  const TorchAttentionMask<float> added(padding, MaskView<float>(bias), 2);
  CHECK(added.mask().bias.shape() == Shape{2, 2, 2, 3});
}

// Views of what dies with the statement are refused.
static_assert(std::is_constructible_v<MaskView<bool>, Tensor<bool, 2>&> && !std::is_constructible_v<MaskView<bool>, Tensor<bool, 2>> &&
              !std::is_constructible_v<MaskView<bool>, const Tensor<bool, 2>>);

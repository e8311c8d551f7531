// SPDX-License-Identifier: MIT
#include <span>
#include <vector>

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

TEST_CASE("AttentionMask: lengths, slopes, a past and short masks", "[attention_mask]") {
  kernels::Attention<float> a;
  a.batches = 2, a.heads = 3, a.queries = 4, a.keys = 5;
  const std::vector<Index> lengths{5, 2}, long_one{5, 6};
  const std::vector<float> slopes{1, 2, 3}, two{1, 2};
  AttentionMask<float>{.key_lengths = lengths, .slopes = slopes, .past = 2}.bind("Test", a);
  CHECK((a.key_lengths == lengths.data() && a.slopes == slopes.data()));
  CHECK((a.position(0, 1) == 3 && a.visible_keys(0, 0) == 5 && a.visible_keys(1, 3) == 2));
  a.causal = true;
  CHECK((a.visible_keys(0, 0) == 3 && a.visible_keys(1, 0) == 2));
  kernels::Attention<float> behind = a;  // a cache of keys that stands before all of them
  AttentionMask<float>{.past = 1}.bind("Test", behind);
  CHECK(behind.position(0, 0) == 3);
  a.end_aligned = true;  // query 3 of sequence 1 at key 1
  CHECK((a.position(1, 3) == 1 && a.position(1, 0) == -2 && a.visible_keys(1, 0) == 0 && a.visible_keys(1, 3) == 2));
  CHECK_THROWS_WITH(AttentionMask<float>{.past = 1}.bind("Test", a), contains("Test: past is 1, but the layer aligns the last query"));
  CHECK_THROWS_WITH(AttentionMask<float>{.slopes = two}.bind("Test", a), contains("Test: 2 slopes for 3 heads"));
  CHECK_THROWS_WITH(
      AttentionMask<float>{.key_lengths = long_one}.bind("Test", a), contains("a length of keys is 6, it must lie in 0 ... 5"));
  const auto none = std::span(lengths).first(1);
  CHECK_THROWS_WITH(AttentionMask<float>{.key_lengths = none}.bind("Test", a), contains("1 lengths of keys for a batch of 2"));

  Tensor<float, 2> bias({4, 3}), one({4, 1});
  CHECK_THROWS_AS(AttentionMask<float>{.bias = bias}.bind("Test", a), ShapeError);
  a = {};
  a.batches = 2, a.heads = 3, a.queries = 4, a.keys = 5;
  AttentionMask<float>{.bias = bias, .short_masks = true}.bind("Test", a);
  CHECK((a.key_limit == 3 && a.visible_keys(0, 0) == 3 && a.bias.key == 1 && a.bias.query == 3));
  AttentionMask<float>{.bias = one, .short_masks = true}.bind("Test", a);
  CHECK((a.key_limit == 1 && a.bias.key == 1));
}

TEST_CASE("MaskView: strides of its own", "[attention_mask]") {
  const std::vector<float> table{-2, -1, 0, 1, 2, 3};  // key - query of 3 queries and 4 keys
  const MaskView<float> view({table.data() + 2, 0, 0, -1, 1}, {1, 1, 3, 4});
  const auto ref = view.broadcast("Test", "the bias", {2, 2, 3, 4});
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 4; ++j) CHECK(ref.row(1, 1, i)[j * ref.key] == static_cast<float>(j - i));
  CHECK_THROWS_AS(view.broadcast("Test", "the bias", {2, 2, 4, 4}), ShapeError);
  CHECK_THROWS_AS(MaskView<float>({table.data(), 0, 0, 0, 1}, {3, 4}), ShapeError);
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

// Views of what dies with the statement are refused: compile_fail/temporary_mask, temporary_const_mask.
static_assert(std::is_constructible_v<MaskView<bool>, Tensor<bool, 2>&>);

TEST_CASE("TorchAttentionMask: either may be left out, and the padding is (N, S)", "[attention_mask]") {
  const Tensor<bool, 2> padding({2, 5});
  const Tensor<double, 2> added({4, 5});
  const TorchAttentionMask<double> only_padding(padding, MaskView<double>()), only_added(MaskView<bool>(), added);
  CHECK((only_padding.mask().attend_keys && !only_padding.mask().bias && !only_padding.mask().attend));
  CHECK((!only_added.mask().attend_keys && only_added.mask().bias));
  const Tensor<bool, 1> flat({5});
  CHECK_THROWS_WITH(TorchAttentionMask<double>(flat), contains("key_padding_mask is 5, it must be (N, S)"));
}

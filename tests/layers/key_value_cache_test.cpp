// SPDX-License-Identifier: MIT
#include <heed/layers/key_value_cache.hpp>
#include <heed/layers/multi_head_attention.hpp>

#include "catch.hpp"
#include "reference/random_tensor.hpp"

using namespace heed;
using reference::largest_difference;
using reference::random_tensor;
using reference::same_bits;
using reference::with_random_parameters;

namespace {

/// Tokens [begin, end) of every sequence.
template <class T>
Tensor<T, 3> tokens(const Tensor<T, 3>& x, Index begin, Index end) {
  Tensor<T, 3> part({x.size(0), end - begin, x.size(2)});
  for (Index b = 0; b < x.size(0); ++b)
    for (Index t = begin; t < end; ++t) std::copy_n(&x(b, t, 0), x.size(2), &part(b, t - begin, 0));
  return part;
}

/// A prompt of `prompt` tokens, a few at once, and then one by one, against the whole sequence in one pass.
template <class T>
void compare_with_forward(const MultiHeadAttention<T>& layer, const Tensor<T, 3>& x, Index prompt, double tolerance) {
  const auto whole = layer.forward(x);
  auto cache = layer.decode_state(x.size(0), x.size(1));
  const Index length = x.size(1), some = std::min(length, prompt + 3);
  const auto step = [&](Index begin, Index end) {
    if (begin == end) return;
    INFO("tokens " << begin << " to " << end << " of " << length);
    CHECK(largest_difference(layer.decode(tokens(x, begin, end), cache), tokens(whole, begin, end)) <= tolerance);
    CHECK(cache.length() == end);
  };
  step(0, prompt), step(prompt, some);
  for (Index t = some; t < length; ++t) step(t, t + 1);
}

}  // namespace

TEST_CASE("A cache keeps what was appended, in place") {
  KeyValueCache<float> cache(2, 5, 6);
  CHECK(cache.sequences() == 2);
  CHECK(cache.capacity() == 5);
  CHECK(cache.features() == 6);
  CHECK(cache.length() == 0);
  const auto k = random_tensor<float, 3>({2, 3, 9}, 1), v = random_tensor<float, 3>({2, 3, 6}, 2);  // keys are the first 6 features of 9
  const float* memory = cache.keys(2).data;
  cache.append(3, {k.data(), 27, 0, 9}, {v.data(), 18, 0, 6});
  cache.append(2, {k.data(), 27, 0, 9}, {v.data(), 18, 0, 6});
  CHECK(cache.length() == 5);
  CHECK(cache.keys(2).data == memory);
  for (Index b = 0; b < 2; ++b)
    for (Index t = 0; t < 5; ++t)
      for (Index h = 0; h < 2; ++h)
        for (Index d = 0; d < 3; ++d) {
          CHECK(cache.keys(2).at(b, h, t)[d] == k(b, t % 3, 3 * h + d));
          CHECK(cache.values(2).at(b, h, t)[d] == v(b, t % 3, 3 * h + d));
        }
  CHECK_THROWS_WITH(cache.append(1, {k.data(), 27, 0, 9}, {v.data(), 18, 0, 6}),
      contains("KeyValueCache: 1 more tokens do not fit behind the 5 that it holds, its capacity is 5"));
  cache.truncate(4);
  CHECK(cache.length() == 4);
  CHECK_THROWS_WITH(cache.truncate(5), contains("must lie in 0 ... length = 4"));
  CHECK_THROWS_AS(cache.truncate(-1), std::invalid_argument);
  cache.clear();
  CHECK(cache.length() == 0);
  CHECK_THROWS_WITH(KeyValueCache<float>(0, 1, 1), contains("sequences (0)"));
  CHECK_THROWS_AS(KeyValueCache<float>(1, -1, 1), std::invalid_argument);
  CHECK_THROWS_AS(KeyValueCache<float>(1, 1, 0), std::invalid_argument);
  CHECK(KeyValueCache<float>().capacity() == 0);
  CHECK_THROWS_AS(KeyValueCache<float>().require_room(1), std::invalid_argument);
}

TEMPLATE_TEST_CASE("Decoding is the causal forward pass, token by token", "", float, double) {
  const double tolerance = sizeof(TestType) == 4 ? 5e-6 : 1e-12;
  for (const MultiHeadAttentionOptions& options : {MultiHeadAttentionOptions{.embed_dim = 12, .num_heads = 3, .causal = true},
           MultiHeadAttentionOptions{.embed_dim = 24, .num_heads = 6, .bias = false, .causal = true, .num_kv_heads = 2},
           MultiHeadAttentionOptions{.embed_dim = 20, .num_heads = 4, .causal = true, .num_kv_heads = 1},
           MultiHeadAttentionOptions{.embed_dim = 24, .num_heads = 6, .causal = true, .num_kv_heads = 3, .alibi = true},
           MultiHeadAttentionOptions{.embed_dim = 12, .num_heads = 3, .causal = true, .rotary = RotaryEmbeddingOptions{.rotary_dim = 2}},
           MultiHeadAttentionOptions{.embed_dim = 24,
           .num_heads = 4,
           .causal = true,
           .num_kv_heads = 2,
           .rotary = RotaryEmbeddingOptions{.base = 20, .interleaved = true}}}) {
    const auto layer = with_random_parameters(MultiHeadAttention<TestType>(options), 3);
    for (Index sequences : {1, 3})
      for (Index prompt : {0, 1, 7, 17})
        compare_with_forward(layer, random_tensor<TestType, 3>({sequences, 21, options.embed_dim}, 4), prompt, tolerance);
  }
}

TEST_CASE("A cache can be copied, cut and begun again") {
  const auto layer = with_random_parameters(MultiHeadAttention<float>({.embed_dim = 8, .num_heads = 2, .causal = true}), 3);
  const auto x = random_tensor<float, 3>({1, 6, 8}, 1), other = random_tensor<float, 3>({1, 6, 8}, 2);
  auto cache = layer.decode_state(1, 6);
  layer.decode(tokens(x, 0, 4), cache);
  auto copy = cache;
  const auto y = layer.decode(tokens(x, 4, 6), cache);
  layer.decode(tokens(other, 4, 6), copy);
  CHECK(same_bits(layer.decode(
                      tokens(x, 4, 6), [&]() -> auto& { return copy.truncate(4), copy; }()),
      y));
  cache.clear();
  CHECK(largest_difference(layer.decode(x, cache), layer.forward(x)) < 5e-6);
}

TEST_CASE("Masks of a decoding step are over past and new keys") {
  const auto layer = with_random_parameters(MultiHeadAttention<double>({.embed_dim = 8, .num_heads = 2, .causal = true}), 3);
  const auto x = random_tensor<double, 3>({2, 5, 8}, 1);
  Tensor<bool, 2> keys({2, 5});  // the second sequence begins with two tokens of padding
  for (Index i = 0; i < keys.size(); ++i) keys[i] = i != 5 && i != 6;
  const auto whole = layer.forward(x, {.attend_keys = keys});
  auto cache = layer.decode_state(2, 8);
  Tensor<bool, 2> first({2, 3});
  for (Index b = 0; b < 2; ++b)
    for (Index j = 0; j < 3; ++j) first(b, j) = keys(b, j);
  CHECK(largest_difference(layer.decode(tokens(x, 0, 3), cache, {.attend_keys = first}), tokens(whole, 0, 3)) < 1e-12);
  CHECK(largest_difference(layer.decode(tokens(x, 3, 5), cache, {.attend_keys = keys}), tokens(whole, 3, 5)) < 1e-12);
}

TEST_CASE("Decoding says what it cannot do, and leaves the cache as it was") {
  using Layer = MultiHeadAttention<float>;
  const auto x = random_tensor<float, 3>({1, 2, 8}, 1);
  const Layer layer({.embed_dim = 8, .num_heads = 2, .causal = true});
  auto cache = layer.decode_state(1, 3);
  layer.decode(x, cache);
  CHECK_THROWS_WITH(layer.decode(x, cache), contains("2 more tokens do not fit behind the 2 that it holds, its capacity is 3"));
  Tensor<bool, 2> mask({2, 2});
  CHECK_THROWS_AS(layer.decode(tokens(x, 0, 1), cache, {.attend = mask}), ShapeError);
  CHECK(cache.length() == 2);
  const Layer short_table({.embed_dim = 8, .num_heads = 2, .causal = true, .rotary = RotaryEmbeddingOptions{.max_positions = 3}});
  auto long_cache = short_table.decode_state(1, 4);
  short_table.decode(x, long_cache);
  CHECK_THROWS_WITH(short_table.decode(x, long_cache), contains("RotaryEmbedding: 2 tokens from position 2 on"));
  CHECK(long_cache.length() == 2);
  auto two = layer.decode_state(2, 3);
  CHECK_THROWS_WITH(layer.decode(x, two), contains("the cache is for 2 sequences with keys of 8 features, x is 1x2x8"));
  const Layer other_keys({.embed_dim = 8, .kdim = 3, .causal = true});
  auto never = other_keys.decode_state(1, 3);
  CHECK_THROWS_AS(other_keys.decode(x, never), ShapeError);  // self-attention alone is decoded
  for (const MultiHeadAttentionOptions& options :
      {MultiHeadAttentionOptions{.embed_dim = 8}, {.embed_dim = 8, .add_zero_attn = true, .causal = true}}) {
    auto state = Layer(options).decode_state(1, 3);
    CHECK_THROWS_WITH(Layer(options).decode(x, state), contains("decode needs causal = true"));
  }
}

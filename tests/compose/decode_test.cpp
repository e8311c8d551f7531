// SPDX-License-Identifier: MIT
#include "catch.hpp"
#include "reference/random_tensor.hpp"

#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/log_softmax.hpp>
#include <heed/layers/positional_encoding.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/rotary_embedding.hpp>
#include <heed/layers/softmax.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

using namespace heed;
using reference::largest_difference;
using reference::random_tensor;
using reference::with_random_parameters;

namespace {

/// Tokens [begin, end) of every sequence.
template <class T, int Rank>
Tensor<T, Rank> tokens(const Tensor<T, Rank>& x, Index begin, Index end) {
  Shape shape = x.shape();
  shape[1] = end - begin;
  Tensor<T, Rank> part(shape);
  const Index token = x.size(0) * x.size(1) == 0 ? 0 : x.size() / (x.size(0) * x.size(1));
  for (Index b = 0; b < x.size(0); ++b)
    for (Index t = begin; t < end; ++t) std::copy_n(&x[(b * x.size(1) + t) * token], token, &part[(b * (end - begin) + t - begin) * token]);
  return part;
}

/// A prompt at once and then token by token, against the whole sequences in one pass.
template <class Model, class X>
double largest_error(const Model& model, const X& x, Index prompt) {
  const auto whole = model.forward(x);
  auto state = model.decode_state(x.size(0), x.size(1));
  double largest = 0;
  for (Index begin = 0, end = prompt; begin < x.size(1); begin = end++)
    largest = std::max(largest, largest_difference(model.decode(tokens(x, begin, end), state), tokens(whole, begin, end)));
  return largest;
}

template <class T>
auto language_model(const TransformerEncoderLayerOptions& options) {
  std::vector<TransformerEncoderLayer<T>> blocks;
  for (int i = 0; i < 3; ++i) blocks.emplace_back(options);
  const Index e = options.d_model;
  return with_random_parameters(
      Sequential(Embedding<T>({.num_embeddings = 11, .embedding_dim = e}),
          PositionalEncoding<T>({.features = e, .tokens = 23, .kind = PositionKind::learned}), Stack(std::move(blocks)),
          Residual(Sequential(LayerNorm<T>({.normalized_shape = {e}}), Linear<T>({e, e}))), LayerNorm<T>({.normalized_shape = {e}}),
          Linear<T>({e, 11})),
      5, -0.3, 0.3);
}

Tensor<std::int64_t, 2> letters(Index sequences, Index length) {
  Tensor<std::int64_t, 2> x({sequences, length});
  for (Index i = 0; i < x.size(); ++i) x[i] = (7 * i * i + 3 * i) % 11;
  return x;
}

}  // namespace

TEMPLATE_TEST_CASE("A composed model decodes what it gives for whole sequences", "", float, double) {
  const double tolerance = sizeof(TestType) == 4 ? 1e-5 : 1e-12;
  using Options = TransformerEncoderLayerOptions;
  for (const Options& options : {Options{.d_model = 12, .nhead = 3, .dim_feedforward = 20, .norm_first = true, .causal = true},
           Options{.d_model = 16, .nhead = 4, .dim_feedforward = 9, .causal = true, .num_kv_heads = 2, .rotary = RotaryEmbeddingOptions{}},
           Options{.d_model = 12, .nhead = 3, .dim_feedforward = 9, .norm_first = true, .causal = true, .alibi = true}}) {
    const auto model = language_model<TestType>(options);
    for (Index sequences : {1, 3})
      for (Index prompt : {1, 6, 22, 23}) CHECK(largest_error(model, letters(sequences, 23), prompt) <= tolerance);
  }
}

TEST_CASE("Layers without a state decode as they infer, with nothing to remember") {
  const Sequential model(Linear<float>({4, 6}), Residual(LayerNorm<float>({.normalized_shape = {6}})), Stack<Linear<float>>({}));
  auto state = model.decode_state(2, 3);
  const auto x = random_tensor<float, 3>({2, 5, 4}, 1);  // beyond the capacity: nobody counts
  CHECK(reference::same_bits(model.decode(x, state), model.forward(x)));
  static_assert(!Decoder<Linear<float>> && Decoder<TransformerEncoderLayer<float>> && Decoder<PositionalEncoding<float>>);
}

TEST_CASE("Decoding names the layer that cannot go on") {
  const auto model = language_model<float>({.d_model = 12, .nhead = 3, .dim_feedforward = 20, .causal = true});
  auto state = model.decode_state(1, 4);
  const auto x = letters(1, 4);
  model.decode(x, state);
  CHECK_THROWS_WITH(model.decode(x, state), contains("2.0.self_attn: KeyValueCache: 4 more tokens do not fit behind the 4"));
  auto stack_state = model.get<2>().decode_state(1, 4);  // at another depth, too, sequences are sequences
  CHECK_NOTHROW(model.get<2>().decode(random_tensor<float, 3>({1, 4, 12}, 1), stack_state));
  auto long_state = model.decode_state(1, 30);
  model.decode(letters(1, 22), long_state);
  CHECK_THROWS_WITH(model.decode(x, long_state), contains("1: PositionalEncoding: 4 tokens from position 22 on leave the table"));
  const PositionalEncoding<float> map({.features = 4, .height = 2, .width = 2});
  auto position = map.decode_state(1, 4);
  CHECK_THROWS_AS(map.decode(random_tensor<float, 3>({1, 4, 4}, 1), position), ShapeError);
  Stack<TransformerEncoderLayer<float>> empty({});
  auto none = empty.decode_state(1, 1);
  CHECK_THROWS_WITH(
      model.get<2>().decode(random_tensor<float, 3>({1, 1, 12}, 1), none), contains("made for a stack of 0 blocks, this one has 3"));
}

TEST_CASE("A rotary embedding goes on where it was, in both layouts of heads") {
  const RotaryEmbedding<double> rotary({.head_dim = 4, .max_positions = 9});
  CHECK(
      largest_error(Sequential(rotary, LayerNorm<double>({.normalized_shape = {8}})), random_tensor<double, 3>({2, 9, 8}, 1), 4) <= 1e-14);
  const auto heads = random_tensor<double, 4>({1, 2, 2, 4}, 2);  // (N, heads, T, head_dim)
  auto state = rotary.decode_state(1, 9);
  state.position = 3;
  CHECK(reference::same_bits(rotary.decode(heads, state), rotary.forward(heads, {.offset = 3})));
  CHECK(state.position == 5);
  state.position = 8;
  CHECK_THROWS_WITH(rotary.decode(heads, state), contains("raise max_positions"));
}

TEST_CASE("Layers that read tokens together with some options are refused with these") {
  const auto x = random_tensor<float, 3>({2, 3, 4}, 1);
  const auto decode = [&](const auto& layer) {
    const Sequential model(layer, Linear<float>({4, 4}));
    auto state = model.decode_state(2, 3);
    model.decode(x, state);
  };
  CHECK_THROWS_WITH(
      decode(Softmax<float>({.dim = 1})), contains("0: decode: with these options the layer reads the tokens of 2x3x4 together"));
  CHECK_THROWS(decode(LogSoftmax<float>({.dim = -2})));
  CHECK_THROWS(decode(BatchNorm1d<float>({.num_features = 4, .track_running_stats = false})));
  // A layer that runs the activation behind it is asked, too.
  const Sequential fused(BatchNorm1d<float>({.num_features = 4, .track_running_stats = false}), Relu<float>());
  auto nothing = fused.decode_state(2, 3);
  CHECK_THROWS_WITH(fused.decode(x, nothing), contains("0: decode: with these options the layer reads the tokens of 2x3x4 together"));
  CHECK_NOTHROW(decode(Softmax<float>({.dim = -1})));
  CHECK_NOTHROW(decode(LogSoftmax<float>({.dim = 2})));
  CHECK_NOTHROW(decode(BatchNorm1d<float>({.num_features = 4})));
}

TEST_CASE("when a layer refuses its tokens, the ones before it forget them, too") {
  const auto model = with_random_parameters(
      Sequential(PositionalEncoding<double>({.features = 4, .tokens = 9}),
          Stack(std::vector{TransformerEncoderLayer<double>({.d_model = 4, .nhead = 2, .dim_feedforward = 3, .causal = true})})),
      3);
  const auto x = random_tensor<double, 3>({2, 5, 4}, 1);
  auto state = model.decode_state(2, 5), other = model.decode_state(2, 5);
  for (auto* each : {&state, &other}) static_cast<void>(model.decode(tokens(x, 0, 3), *each));
  CHECK(state.length() == 3);
  CHECK_THROWS_WITH(model.decode(random_tensor<double, 3>({2, 4, 4}, 2), state), contains("do not fit"));
  CHECK(state.length() == 3);
  CHECK(largest_difference(model.decode(tokens(x, 3, 5), state), model.decode(tokens(x, 3, 5), other)) == 0);
  CHECK(state.length() == 5);

  state.truncate(3);  // and a caller may drop tokens
  CHECK(largest_difference(model.decode(tokens(x, 3, 5), state), tokens(model.forward(x), 3, 5)) <= 1e-12);
}

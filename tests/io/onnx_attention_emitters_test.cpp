// SPDX-License-Identifier: MIT
#include <limits>

#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/multi_head_attention.hpp>
#include <heed/layers/rotary_embedding.hpp>
#include <heed/layers/scaled_dot_product_attention.hpp>
#include <heed/layers/sequence_pool.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

#include "catch.hpp"
#include "written_onnx.hpp"

using heed::Index;
using heed::Shape;

namespace {

const float kNever = -std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("ONNX attention: heads of tokens, scale, soft cap") {
  const heed::ScaledDotProductAttention<float> plain({.num_heads = 2, .scale = 0.3, .softcap = 5});
  const auto file = written_onnx(plain, {{2, 3, 8}, {2, 5, 8}, {2, 5, 6}});
  CHECK(file.ops() == "Reshape Transpose Reshape Transpose Reshape Transpose Mul MatMul Div Tanh Mul Softmax MatMul Transpose Reshape");
  CHECK(file.node("ScaledDotProductAttention/q/heads").ints("perm") == Integers{0, 2, 1, 3});
  CHECK(file.node("ScaledDotProductAttention/k/heads").ints("perm") == Integers{0, 2, 3, 1});
  CHECK(file.initializers.at(file.node("ScaledDotProductAttention/q/scaled").inputs[1]).floats()[0] == 0.3f);
  CHECK(file.initializers.at(file.node("ScaledDotProductAttention/scores/ratio").inputs[1]).floats()[0] == 5.0f);
  CHECK(file.initializers.at(file.node("ScaledDotProductAttention").inputs[1]).integers() == Integers{0, 3, 6});
  CHECK(file.outputs[0].dims == Words{"N", "3", "6"});
  // Four axes are heads already; the default scale is 1 / sqrt(width).
  const auto heads =
      written_onnx(heed::ScaledDotProductAttention<float>(), {{2, 3, 4, 16}, {2, 3, 5, 16}, {2, 3, 5, 2}}, {.channels_first = false});
  CHECK(heads.ops() == "Transpose Mul MatMul Softmax MatMul");
  CHECK(heads.initializers.at("0.25").floats()[0] == 0.25f);
}

TEST_CASE("ONNX attention: the batch is free, and may be given as 0") {
  const heed::AttentionFusion<float> fusion({.features = 4, .num_heads = 2, .height = 2, .width = 2});
  const heed::SequencePool<float> pool({.features = 4});
  for (const Shape& rest : {Shape{0, 4, 4}, Shape{0, 2, 2, 4}}) {
    Shape one = rest;
    one[0] = 1;
    CHECK(heed::io::onnx_bytes(fusion, {rest}) == heed::io::onnx_bytes(fusion, {one}));
    if (rest.rank() == 3) CHECK(heed::io::onnx_bytes(pool, {rest}) == heed::io::onnx_bytes(pool, {one}));
  }
}

TEST_CASE("ONNX attention: the causal mask of either corner; a query without keys gives zeros") {
  using heed::CausalAlignment;
  const auto mask = [](CausalAlignment alignment, Index queries, Index keys) {
    return written_onnx(
        heed::ScaledDotProductAttention<float>({.causal = true, .alignment = alignment}), {{1, queries, 2}, {1, keys, 2}, {1, keys, 2}});
  };
  const std::string name = "ScaledDotProductAttention/mask";
  CHECK(mask(CausalAlignment::top_left, 2, 3).initializers.at(name).floats() == std::vector<float>{0, kNever, kNever, 0, 0, kNever});
  CHECK(mask(CausalAlignment::bottom_right, 2, 3).initializers.at(name).floats() == std::vector<float>{0, 0, kNever, 0, 0, 0});
  const auto early = mask(CausalAlignment::bottom_right, 3, 2);
  CHECK(early.initializers.at(name).floats() == std::vector<float>{0, 0, 0, kNever, 0, 0});
  CHECK(early.initializers.at("ScaledDotProductAttention/attending").floats() == std::vector<float>{0, 1, 1});
}

TEST_CASE("ONNX attention: grouped queries meet their keys on an axis of their own") {
  const auto file =
      written_onnx(heed::ScaledDotProductAttention<float>({.num_heads = 6, .num_kv_heads = 2}), {{1, 3, 24}, {1, 5, 8}, {1, 5, 8}});
  const auto shape = [&](const std::string& word) {
    return file.initializers.at(file.node("ScaledDotProductAttention/" + word).inputs[1]).integers();
  };
  CHECK(shape("q/groups") == Integers{0, 2, 3, 3, 4});
  CHECK(shape("k/groups") == Integers{0, 2, 1, 4, 5});
  CHECK(shape("v/groups") == Integers{0, 2, 1, 5, 4});
  CHECK(shape("context/ungrouped") == Integers{0, 6, 3, 4});
}

TEST_CASE("ONNX attention: MultiHeadAttention under torch's names") {
  using heed::MultiHeadAttention;
  const auto self = written_onnx(MultiHeadAttention<float>({.embed_dim = 4, .num_heads = 2}), {{2, 3, 4}});
  CHECK(self.initializer_names().contains("in_proj_weight"));
  CHECK(self.initializer_names().contains("out_proj.weight"));
  CHECK(self.node("MultiHeadAttention/q").op == "Split");
  CHECK(self.node("MultiHeadAttention/q").outputs.size() == 3);
  CHECK(self.node("out_proj").outputs == Words{"output"});
  const auto cross =
      written_onnx(MultiHeadAttention<float>(
                       {.embed_dim = 4, .num_heads = 2, .add_bias_kv = true, .add_zero_attn = true, .kdim = 3, .vdim = 5, .causal = true}),
          {{2, 3, 4}, {2, 6, 3}, {2, 6, 5}});
  for (const char* name : {"q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "bias_k", "bias_v"})
    CHECK(cross.initializer_names().contains(name));
  CHECK(cross.initializers.at("bias_k").dims == Integers{1, 1, 4});
  // The appended keys, the last two of eight, are always attended.
  CHECK(cross.initializers.at("MultiHeadAttention/mask").dims == Integers{3, 8});
  const auto mask = cross.initializers.at("MultiHeadAttention/mask").floats();
  CHECK(std::vector<float>(mask.begin(), mask.begin() + 8) == std::vector<float>{0, kNever, kNever, kNever, kNever, kNever, 0, 0});
}

TEST_CASE("ONNX attention: ALiBi's distances are part of the mask, one a head") {
  const heed::MultiHeadAttention<float> attention({.embed_dim = 4, .num_heads = 2, .add_zero_attn = true, .causal = true, .alibi = true});
  const auto file = written_onnx(attention, {{1, 2, 4}});
  CHECK(file.initializers.at("MultiHeadAttention/mask").dims == Integers{2, 2, 3});
  const float a = 0.0625f, b = 0.00390625f;  // 2^-4, 2^-8
  CHECK(file.initializers.at("MultiHeadAttention/mask").floats() == std::vector<float>{0, kNever, 0, -a, 0, 0, 0, kNever, 0, -b, 0, 0});
}

TEST_CASE("ONNX attention: AttentionFusion of every kind, on a map") {
  using heed::AttentionKind;
  const auto ops = [](AttentionKind kind) {
    return written_onnx(
        heed::AttentionFusion<float>({.features = 4, .num_heads = 2, .height = 3, .width = 2, .attention = kind}), {{2, 3, 2, 4}});
  };
  const auto full = ops(AttentionKind::full);
  CHECK(full.node("AttentionFusion/scores").op == "MatMul");
  CHECK(full.node("norm").op == "LayerNormalization");
  CHECK(full.node("position").op == "Add");
  CHECK(full.node("qkv").op == "MatMul");
  CHECK(full.node("out").op == "Add");
  CHECK(full.node("out/joined").inputs == Words{"AttentionFusion/context", "position"});
  CHECK(full.inputs[0].dims == Words{"N", "4", "3", "2"});
  CHECK(full.outputs[0].dims == Words{"N", "4", "3", "2"});
  CHECK(ops(AttentionKind::identity).node("out/joined").inputs == Words{"AttentionFusion/v", "position"});
  CHECK(ops(AttentionKind::uniform).node("AttentionFusion/context").op == "Expand");
}

TEST_CASE("ONNX attention: a bias of relative positions is a tensor of numbers by the tokens of the graph") {
  const auto bias_of = [](heed::AttentionFusionOptions options, const heed::Shape& in) {
    options.features = 4, options.num_heads = 2, options.relative_bias = true;
    heed::AttentionFusion<float> layer(options);
    heed::Parameter<float>& table = layer.relative()->weight();
    for (heed::Index i = 0; i < table.size(); ++i) table.value()[i] = static_cast<float>(i);  // row r: 2 r for head 0, 2 r + 1 for head 1
    const auto file = written_onnx(layer, {in});
    CHECK(file.node("AttentionFusion/weights").inputs == Words{"AttentionFusion/scores/biased"});
    CHECK(file.initializers.at("AttentionFusion/bias").dims == Integers{2, 2, 2});
    return file.initializers.at("AttentionFusion/bias").floats();
  };
  // One row of two tokens: rows 0 1 2 of the table are x_i - x_j = -1, 0, 1.
  CHECK(bias_of({.height = 1, .width = 2}, {3, 1, 2, 4}) == std::vector<float>{2, 0, 4, 2, 3, 1, 5, 3});
  // Up to three tokens, two of them here: rows 0 ... 4 are j - i = -2 ... 2.
  CHECK(bias_of({.tokens = 3}, {3, 2, 4}) == std::vector<float>{4, 6, 2, 4, 5, 7, 3, 5});
}

TEST_CASE("ONNX attention: TransformerEncoderLayer before and behind the norms") {
  using heed::TransformerEncoderLayer;
  const auto behind = written_onnx(TransformerEncoderLayer<float>({.d_model = 4, .nhead = 2, .dim_feedforward = 5}), {{2, 3, 4}});
  CHECK(behind.node("norm2").outputs == Words{"output"});
  CHECK(behind.node("norm1").inputs[0] == "TransformerEncoderLayer/sum1");
  CHECK(behind.node("TransformerEncoderLayer/activation").op == "Relu");
  CHECK(behind.initializer_names().contains("self_attn.in_proj_weight"));
  const auto before = written_onnx(
      TransformerEncoderLayer<float>(
          {.d_model = 4, .nhead = 2, .dim_feedforward = 5, .activation = heed::FeedForwardActivation::gelu, .norm_first = true}),
      {{2, 3, 4}});
  CHECK(before.node("TransformerEncoderLayer").outputs == Words{"output"});
  CHECK(before.node("norm1").inputs[0] == "input");
  CHECK(before.node("norm2").inputs[0] == "TransformerEncoderLayer/sum1");
  CHECK(before.node("TransformerEncoderLayer/activation").op == "Gelu");
}

TEST_CASE("ONNX attention: rotary positions turn pairs of features by the rows of the tables that the tokens use") {
  const heed::RotaryEmbedding<float> rotary({.head_dim = 6, .rotary_dim = 4, .max_positions = 9});
  const auto halves = written_onnx(rotary, {{2, 3, 12}});
  CHECK(halves.ops() == "Reshape Gather Gather Mul Mul Sub Mul Mul Add Slice Concat Reshape");
  const auto indices = [](const reference::OnnxFile& file, const std::string& node) {
    return file.initializers.at(file.node(node).inputs[1]).integers();
  };
  CHECK(indices(halves, "RotaryEmbedding/u") == Integers{0, 1});
  CHECK(indices(halves, "RotaryEmbedding/v") == Integers{2, 3});
  CHECK(halves.initializers.at("RotaryEmbedding/cos").dims == Integers{3, 1, 2});
  CHECK(halves.initializers.at("RotaryEmbedding/sin").floats()[4] == rotary.sin()(2, 0));
  const auto pairs =
      written_onnx(heed::RotaryEmbedding<float>({.head_dim = 4, .interleaved = true}), {{2, 2, 3, 4}}, {.channels_first = false});
  CHECK(indices(pairs, "RotaryEmbedding/u") == Integers{0, 2});
  CHECK(indices(pairs, "RotaryEmbedding/v") == Integers{1, 3});
  CHECK(indices(pairs, "RotaryEmbedding/joined") == Integers{0, 2, 1, 3});
  const auto attention = written_onnx(
      heed::MultiHeadAttention<float>({.embed_dim = 8, .num_heads = 4, .num_kv_heads = 2, .rotary = heed::RotaryEmbeddingOptions{}}),
      {{2, 3, 8}});
  CHECK(indices(attention, "MultiHeadAttention/q") == Integers{8, 4, 4});
  CHECK(attention.node("rotary/q").op == "Reshape");
  CHECK(attention.node("rotary/k").op == "Reshape");
}

TEST_CASE("ONNX attention: SequencePool") {
  const auto file = written_onnx(heed::SequencePool<float, 4>({.features = 4}), {{2, 3, 2, 4}});
  CHECK(file.ops() == "Transpose Reshape Transpose MatMul Softmax Mul ReduceSum");
  CHECK(file.node("SequencePool/weights").attribute("axis").i == 1);
  CHECK(file.outputs[0].dims == Words{"N", "4"});
}

TEST_CASE("ONNX attention: an option that the emitter does not know is refused") {
  using namespace heed::io;
  const OnnxEmitters emitters = onnx_emitters();
  OnnxGraph graph(emitters, "y");
  const OnnxValue x = graph.input("x", {1, 2, 4}, OnnxType::float32, true);
  const DescribedLayer layer{"a", "MultiHeadAttention", {{"embed_dim", "4"}, {"window", "3"}}, {}, {}};
  CHECK_THROWS_WITH(graph.emit(layer, x), contains("layer a (MultiHeadAttention) has the option window = 3"));
  DescribedLayer other{"a", "MultiHeadAttention", {}, {}, {}};
  other.children.push_back({"a.slopes", "Slopes", {}, {}, {}});
  CHECK_THROWS_WITH(graph.emit(other, x), contains("layer a (MultiHeadAttention) runs layer a.slopes (Slopes)"));
}

// SPDX-License-Identifier: MIT
// An input that does not fit: the sentence names the layer by its path in the model, the shape that came and what the layer has. So it is in inference, in
// the training pass, and for a gradient of another shape.
#include <string>
#include <utility>
#include <vector>

#include <heed/compose/any_layer.hpp>
#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/layers/attention_fusion.hpp>
#include <heed/layers/avg_pool1d.hpp>
#include <heed/layers/avg_pool2d.hpp>
#include <heed/layers/batch_norm1d.hpp>
#include <heed/layers/batch_norm2d.hpp>
#include <heed/layers/conv1d.hpp>
#include <heed/layers/conv2d.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/global_avg_pool1d.hpp>
#include <heed/layers/global_avg_pool2d.hpp>
#include <heed/layers/global_max_pool1d.hpp>
#include <heed/layers/global_max_pool2d.hpp>
#include <heed/layers/group_norm.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/log_softmax.hpp>
#include <heed/layers/max_pool1d.hpp>
#include <heed/layers/max_pool2d.hpp>
#include <heed/layers/multi_head_attention.hpp>
#include <heed/layers/positional_encoding.hpp>
#include <heed/layers/qkv_projection.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/rms_norm.hpp>
#include <heed/layers/rotary_embedding.hpp>
#include <heed/layers/sequence_pool.hpp>
#include <heed/layers/softmax.hpp>
#include <heed/layers/transformer_encoder_layer.hpp>

#include "catch.hpp"
#include "message_of.hpp"

using namespace heed;

namespace {

/// A model with this layer at "body.layer".
template <class L>
auto model_of(L layer) {
  return Sequential(named("body", Sequential(named("first", Relu<float>()), named("layer", std::move(layer)))));
}

/// What that model says to an input of zeros, in both passes and of its shape: the same.
template <int Rank, class L>
std::string refusal(L layer, const Shape& shape) {
  const auto model = model_of(std::move(layer));
  const Tensor<float, Rank> x(shape);
  const std::string said = message_of<ShapeError>([&] { static_cast<void>(model.forward(x)); });
  typename std::remove_cvref_t<decltype(model)>::Cache cache;
  CHECK(message_of<ShapeError>([&] { static_cast<void>(model.forward(x, cache)); }) == said);
  CHECK(message_of<ShapeError>([&] { static_cast<void>(model.output_shape(shape)); }) == said);
  return said;
}

/// `expected`: of what the layer has.
void check(const std::string& said, const Shape& shape, const std::string& layer, const std::string& expected) {
  INFO(said);
  CHECK(said.starts_with("body.layer"));
  CHECK(said.find(layer + ": ") != std::string::npos);
  CHECK(said.find(shape.to_string()) != std::string::npos);
  CHECK(said.find(expected) != std::string::npos);
}

/// A gradient with one row or image too few, and one with a feature too many, for the layer's y of an x of zeros.
template <int Rank, class L>
void check_gradient(const std::string& kind, L layer, const Shape& shape) {
  INFO(kind);
  auto model = model_of(std::move(layer));
  typename decltype(model)::Cache cache;
  const Tensor<float, Rank> x(shape);
  const Shape y = model.forward(x, cache).shape();
  Shape fewer = y, wider = y;
  fewer[0] = y[0] - 1, wider[-1] = y[-1] + 1;
  for (const Shape& wrong : {fewer, wider}) {
    static_cast<void>(model.forward(x, cache));
    const std::string said = message_of<ShapeError>([&] {
      Tensor<float, std::remove_cvref_t<decltype(model.forward(x, cache))>::rank> dy(wrong);
      static_cast<void>(model.backward(dy, cache));
    });
    INFO(said);
    CHECK(said.starts_with("body.layer: " + kind + ": "));
    CHECK(said.find(wrong.to_string()) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("a wrong number of features names the layer and both shapes") {
  const Shape image{1, 8, 8, 3}, sequence{1, 8, 3}, row{1, 3};
  check(refusal<4>(Conv2d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 3}), image), image, "Conv2d", "2x4x3x3");
  check(refusal<3>(Conv1d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 3}), sequence), sequence, "Conv1d", "2x4x3");
  check(refusal<2>(Linear<float>({.in_features = 4, .out_features = 2}), row), row, "Linear", "2x4");
  check(refusal<4>(BatchNorm2d<float>({.num_features = 4}), image), image, "BatchNorm2d", "the layer 4");
  check(refusal<2>(BatchNorm1d<float>({.num_features = 4}), row), row, "BatchNorm1d", "the layer 4");
  check(refusal<4>(GroupNorm<float>({.num_groups = 2, .num_channels = 4}), image), image, "GroupNorm", "the layer 4");
  check(refusal<3>(LayerNorm<float>({.normalized_shape = {4}}), sequence), sequence, "LayerNorm", "shape 4");
  check(refusal<3>(RMSNorm<float>({.normalized_shape = {4}}), sequence), sequence, "RMSNorm", "shape 4");
  check(refusal<3>(QkvProjection<float>({.in_features = 4}), sequence), sequence, "QkvProjection", "12x4");
  check(refusal<3>(MultiHeadAttention<float>({.embed_dim = 4, .num_heads = 2}), sequence), sequence, "MultiHeadAttention", "embed_dim = 4");
  check(refusal<3>(TransformerEncoderLayer<float>({.d_model = 4, .nhead = 2, .dim_feedforward = 8}), sequence), sequence,
      "TransformerEncoderLayer", "d_model = 4");
  check(refusal<3>(SequencePool<float>({.features = 4}), sequence), sequence, "SequencePool", "4 features");
  const std::string fused = refusal<4>(AttentionFusion<float>({.features = 4, .num_heads = 2, .height = 8, .width = 8}), image);
  check(fused, image, "LayerNorm", "shape 4");
  CHECK(fused.starts_with("body.layer.norm: "));
}

TEST_CASE("a map or sequence that does not fit names the layer and both sizes") {
  const Shape image{1, 8, 8, 4}, sequence{1, 8, 4};
  check(refusal<4>(Conv2d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 9}), image), image, "Conv2d", "9x9");
  check(refusal<4>(MaxPool2d<float>({.kernel_size = 9}), image), image, "MaxPool2d", "9x9");
  check(refusal<4>(AvgPool2d<float>({.kernel_size = 9}), image), image, "AvgPool2d", "9x9");
  check(refusal<3>(MaxPool1d<float>({.kernel_size = 9}), sequence), sequence, "MaxPool1d", "kernel_size 9");
  check(refusal<3>(AvgPool1d<float>({.kernel_size = 9}), sequence), sequence, "AvgPool1d", "kernel_size 9");
  check(refusal<3>(Conv1d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 9}), sequence), sequence, "Conv1d", "kernel_size 9");
  check(refusal<3>(RotaryEmbedding<float>({.head_dim = 6}), sequence), sequence, "RotaryEmbedding", "head_dim = 6");
  check(refusal<3>(Softmax<float>({.dim = 3}), sequence), sequence, "Softmax", "dim is 3");
  check(refusal<3>(LogSoftmax<float>({.dim = -4}), sequence), sequence, "LogSoftmax", "dim is -4");
  check(refusal<3>(PositionalEncoding<float>({.features = 4, .tokens = 5}), sequence), sequence, "PositionalEncoding", "5 x 1 positions");
  const std::string fused = refusal<4>(AttentionFusion<float>({.features = 4, .num_heads = 2, .height = 4, .width = 5}), image);
  check(fused, image, "PositionalEncoding", "4 x 5 positions");
  CHECK(fused.starts_with("body.layer.position: "));
  const Shape empty{1, 0, 8, 4};
  check(refusal<4>(GlobalMaxPool2d<float>(), empty), empty, "GlobalMaxPool2d", "(images, height, width, channels)");
  check(refusal<4>(GlobalAvgPool2d<float>(), empty), empty, "GlobalAvgPool2d", "(images, height, width, channels)");
  const Shape none{1, 0, 4};
  check(refusal<3>(GlobalMaxPool1d<float>(), none), none, "GlobalMaxPool1d", "(sequences, tokens, channels)");
  check(refusal<3>(GlobalAvgPool1d<float>(), none), none, "GlobalAvgPool1d", "(sequences, tokens, channels)");
}

TEST_CASE("a layer inside a list, a residual branch and an AnyLayer is named, too") {
  std::vector<Linear<float>> layers;
  layers.push_back(Linear<float>({.in_features = 4, .out_features = 4}));
  layers.push_back(Linear<float>({.in_features = 3, .out_features = 4}));
  const Shape row{1, 4};
  const std::string listed = refusal<2>(Stack(std::move(layers)), row);
  check(listed, row, "Linear", "4x3");
  CHECK(listed.starts_with("body.layer.1: "));
  check(refusal<2>(Residual(Linear<float>({.in_features = 4, .out_features = 3})), row), row, "Residual", "1x3");
  const Shape image{1, 8, 8, 4};
  check(refusal<4>(AnyLayer<float, 4>(MaxPool2d<float>({.kernel_size = 9})), image), image, "MaxPool2d", "9x9");
}

TEST_CASE("a gradient of another shape than y names the layer and what came") {
  const Shape image{2, 8, 8, 4}, sequence{2, 8, 4}, row{2, 4};
  check_gradient<4>("Conv2d", Conv2d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 3}), image);
  check_gradient<3>("Conv1d", Conv1d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 3}), sequence);
  check_gradient<2>("Linear", Linear<float>({.in_features = 4, .out_features = 2}), row);
  check_gradient<4>("MaxPool2d", MaxPool2d<float>({.kernel_size = 2}), image);
  check_gradient<4>("AvgPool2d", AvgPool2d<float>({.kernel_size = 2}), image);
  check_gradient<3>("AvgPool1d", AvgPool1d<float>({.kernel_size = 2}), sequence);
  check_gradient<4>("GlobalMaxPool2d", GlobalMaxPool2d<float>(), image);
  check_gradient<4>("GlobalAvgPool2d", GlobalAvgPool2d<float>(), image);
  check_gradient<4>("BatchNorm2d", BatchNorm2d<float>({.num_features = 4}), image);
  check_gradient<4>("GroupNorm", GroupNorm<float>({.num_groups = 2, .num_channels = 4}), image);
  check_gradient<3>("LayerNorm", LayerNorm<float>({.normalized_shape = {4}}), sequence);
  check_gradient<3>("RMSNorm", RMSNorm<float>({.normalized_shape = {4}}), sequence);
  check_gradient<3>("Gelu", Gelu<float>(), sequence);
  check_gradient<3>("Softmax", Softmax<float>(), sequence);
  check_gradient<3>("Dropout", Dropout<float>({.p = 0.5}), sequence);
  check_gradient<4>("Flatten", Flatten<float>(), image);
  check_gradient<3>("PositionalEncoding", PositionalEncoding<float>({.features = 4, .tokens = 8}), sequence);
  check_gradient<3>("QkvProjection", QkvProjection<float>({.in_features = 4}), sequence);
  check_gradient<3>("MultiHeadAttention", MultiHeadAttention<float>({.embed_dim = 4, .num_heads = 2}), sequence);
  check_gradient<3>("TransformerEncoderLayer", TransformerEncoderLayer<float>({.d_model = 4, .nhead = 2, .dim_feedforward = 8}), sequence);
  check_gradient<3>("SequencePool", SequencePool<float>({.features = 4}), sequence);
  check_gradient<4>("AttentionFusion", AttentionFusion<float>({.features = 4, .num_heads = 2, .height = 8, .width = 8}), image);
}

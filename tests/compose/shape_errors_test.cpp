// SPDX-License-Identifier: MIT
// An input that does not fit: the sentence names the layer by its path in the model, the shape that came and what the layer has.
#include <string>
#include <utility>
#include <vector>

#include <heed/heed.hpp>

#include "catch.hpp"

using namespace heed;

namespace {

/// What a model with this layer at "body.layer" says to an input of zeros. Empty if it takes it.
template <int Rank, class L>
std::string refusal(L layer, const Shape& shape) {
  const auto model = Sequential(named("body", Sequential(named("first", Relu<float>()), named("layer", std::move(layer)))));
  try {
    static_cast<void>(model.forward(Tensor<float, Rank>(shape)));
  } catch (const ShapeError& error) {
    return error.what();
  }
  return "";
}

/// `expected`: of what the layer has.
void check(const std::string& said, const Shape& shape, const std::string& layer, const std::string& expected) {
  INFO(said);
  CHECK(said.starts_with("body.layer"));
  CHECK(said.find(layer + ": ") != std::string::npos);
  CHECK(said.find(shape.to_string()) != std::string::npos);
  CHECK(said.find(expected) != std::string::npos);
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
  check(refusal<3>(PositionalEncoding<float>({.features = 4, .tokens = 5}), sequence), sequence, "PositionalEncoding", "5 x 1 positions");
  const std::string fused = refusal<4>(AttentionFusion<float>({.features = 4, .num_heads = 2, .height = 4, .width = 5}), image);
  check(fused, image, "PositionalEncoding", "4 x 5 positions");
  CHECK(fused.starts_with("body.layer.position: "));
  const Shape empty{1, 0, 8, 4};
  check(refusal<4>(GlobalMaxPool2d<float>(), empty), empty, "GlobalMaxPool2d", "(images, height, width, channels)");
  check(refusal<4>(GlobalAvgPool2d<float>(), empty), empty, "GlobalAvgPool2d", "(images, height, width, channels)");
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

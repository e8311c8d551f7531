// SPDX-License-Identifier: MIT
// A shape that a layer does not take: inference, training and output_shape say the same, with the layer's path in the model, the shape that came and the one that fits.
#include <heed/all.hpp>

#include "catch.hpp"

using namespace heed;

namespace {

template <class Call>
std::string refusal(const Call& call) {
  try {
    call();
  } catch (const ShapeError& error) {
    return error.what();
  }
  return "nothing";
}

template <int Rank, class L>
void check_refusal(const L& layer, const Shape& in, const std::string& fitting) {
  Sequential model(named("stem", Sequential(named("part", layer))));
  typename decltype(model)::Cache cache;
  const Tensor<float, Rank> x(in);
  const std::string said = refusal([&] { model.forward(x); });
  INFO(said);
  CHECK(said.starts_with("stem.part"));
  CHECK(said.find(text(in)) != std::string::npos);
  CHECK(said.find(fitting) != std::string::npos);
  CHECK(refusal([&] { model.forward(x, cache); }) == said);
  CHECK(refusal([&] { model.output_shape(in); }) == said);
}

}  // namespace

TEST_CASE("every layer that does not take a shape says where it stands, what came and what fits") {
  check_refusal<2>(Linear<float>({.in_features = 4, .out_features = 2}), {3, 5}, "weight 2x4");
  check_refusal<3>(QkvProjection<float>({.in_features = 4, .model_width = 2}), {2, 3, 5}, "weight 6x4");
  check_refusal<4>(Conv2d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 3}), {1, 8, 8, 3}, "weight 2x4x3x3");
  check_refusal<4>(Conv2d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 3}), {1, 2, 9, 4}, "3x3");
  check_refusal<3>(Conv1d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 3}), {2, 9, 3}, "weight 2x4x3");
  check_refusal<3>(Conv1d<float>({.in_channels = 4, .out_channels = 2, .kernel_size = 3}), {2, 2, 4}, "kernel");
  check_refusal<4>(MaxPool2d<float>({.kernel_size = 2}), {1, 1, 5, 2}, "2x2");
  check_refusal<4>(AvgPool2d<float>({.kernel_size = 2}), {1, 5, 1, 2}, "2x2");
  check_refusal<3>(MaxPool1d<float>({.kernel_size = 3}), {1, 2, 2}, "3");
  check_refusal<3>(AvgPool1d<float>({.kernel_size = 3}), {1, 2, 2}, "3");
  check_refusal<4>(GlobalAvgPool2d<float>(), {1, 0, 5, 2}, "at least one pixel");
  check_refusal<4>(GlobalMaxPool2d<float>(), {1, 5, 0, 2}, "with 1 to ");
  check_refusal<3>(GlobalAvgPool1d<float>(), {1, 0, 2}, "at least one token");
  check_refusal<3>(GlobalMaxPool1d<float>(), {1, 0, 2}, "with 1 to ");
  check_refusal<4>(BatchNorm2d<float>({.num_features = 4}), {2, 3, 3, 5}, "the layer 4");
  check_refusal<3>(BatchNorm1d<float>({.num_features = 4}), {2, 3, 5}, "the layer 4");
  check_refusal<3>(GroupNorm<float>({.num_groups = 2, .num_channels = 4}), {2, 3, 5}, "the layer 4");
  check_refusal<2>(LayerNorm<float>({.normalized_shape = {4}}), {2, 5}, "normalized shape 4");
  check_refusal<3>(RMSNorm<float>({.normalized_shape = {3, 4}}), {2, 4, 4}, "normalized shape 3x4");
  check_refusal<3>(PositionalEncoding<float>({.features = 4, .tokens = 6}), {2, 7, 4}, "6 x 1 positions of 4 features");
  check_refusal<4>(PositionalEncoding<float>({.features = 4, .height = 2, .width = 3}), {2, 3, 2, 4}, "2 x 3 positions of 4 features");
  check_refusal<3>(RotaryEmbedding<float>({.head_dim = 4}), {2, 3, 6}, "head_dim = 4");
  check_refusal<3>(MultiHeadAttention<float>({.embed_dim = 4, .num_heads = 2}), {2, 3, 5}, "embed_dim = 4");
  check_refusal<3>(TransformerEncoderLayer<float>({.d_model = 4, .nhead = 2}), {2, 3, 5}, "d_model = 4");
  check_refusal<3>(SequencePool<float>({.features = 4}), {2, 3, 5}, "with 4 features");
  check_refusal<3>(AttentionFusion<float>({.features = 4, .num_heads = 2, .tokens = 3}), {2, 3, 5}, "shape 4");
  check_refusal<4>(AttentionFusion<float>({.features = 4, .num_heads = 2, .height = 2, .width = 3}), {2, 3, 2, 4}, "2 x 3 positions");
  check_refusal<2>(Softmax<float>({.dim = 2}), {2, 3}, "2 axes");
  check_refusal<2>(LogSoftmax<float>({.dim = -3}), {2, 3}, "2 axes");
}

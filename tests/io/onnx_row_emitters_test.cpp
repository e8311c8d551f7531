// SPDX-License-Identifier: MIT
#include <heed/compose/any_layer.hpp>
#include <heed/compose/residual.hpp>
#include <heed/compose/sequential.hpp>
#include <heed/compose/stack.hpp>
#include <heed/layers/dropout.hpp>
#include <heed/layers/elu.hpp>
#include <heed/layers/embedding.hpp>
#include <heed/layers/flatten.hpp>
#include <heed/layers/gelu.hpp>
#include <heed/layers/layer_norm.hpp>
#include <heed/layers/leaky_relu.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/log_softmax.hpp>
#include <heed/layers/output_projection.hpp>
#include <heed/layers/positional_encoding.hpp>
#include <heed/layers/relu.hpp>
#include <heed/layers/rms_norm.hpp>
#include <heed/layers/sigmoid.hpp>
#include <heed/layers/silu.hpp>
#include <heed/layers/softmax.hpp>
#include <heed/layers/tanh.hpp>

#include "catch.hpp"
#include "written_onnx.hpp"

using heed::named;
using heed::Shape;

TEST_CASE("ONNX rows: Linear is Gemm on a matrix, MatMul and Add elsewhere") {
  const heed::Linear<float> linear({.in_features = 3, .out_features = 4});
  const auto matrix = written_onnx(linear, {{5, 3}});
  CHECK(matrix.ops() == "Gemm");
  CHECK(matrix.nodes[0].name == "Linear");
  CHECK(matrix.nodes[0].inputs == Words{"input", "weight", "bias"});
  CHECK(matrix.nodes[0].attribute("transB").i == 1);
  CHECK(matrix.initializers.at("weight").dims == Integers{4, 3});
  CHECK(matrix.initializers.at("weight").floats() ==
        std::vector<float>(linear.weight().value(), linear.weight().value() + linear.weight().size()));
  CHECK(matrix.outputs[0].dims == Words{"N", "4"});
  const auto tokens = written_onnx(linear, {{5, 2, 3}});
  CHECK(tokens.ops() == "Transpose MatMul Add");
  CHECK(tokens.node("Linear").op == "Add");
  CHECK(tokens.outputs[0].dims == Words{"N", "2", "4"});
  const heed::Linear<float> plain({.in_features = 3, .out_features = 4, .bias = false});
  CHECK(written_onnx(plain, {{5, 3}}).nodes[0].inputs == Words{"input", "weight"});
  CHECK(written_onnx(plain, {{5, 2, 3}}).node("Linear").op == "MatMul");
}

TEST_CASE("ONNX rows: composers name nodes by their paths") {
  using heed::Linear;
  const heed::Sequential net(named("first", Linear<float>({.in_features = 3, .out_features = 4})),
      named("block", heed::Residual(heed::AnyLayer<float, 2>(
                         heed::Sequential(heed::Relu<float>(), Linear<float>({.in_features = 4, .out_features = 4, .bias = false}))))),
      named("drop", heed::Dropout<float>()),
      named("stack", heed::Stack(std::vector<Linear<float>>(2, Linear<float>({.in_features = 4, .out_features = 4})))));
  const auto file = written_onnx(net, {{5, 3}});
  CHECK(file.ops() == "Gemm Relu Gemm Add Gemm Gemm");
  Words names;
  for (const auto& node : file.nodes) names.push_back(node.name);
  CHECK(names == Words{"first", "block.branch.0", "block.branch.1", "block", "stack.0", "stack.1"});
  CHECK(file.node("block").inputs == Words{"first", "block.branch.1"});
  CHECK(file.initializer_names() == std::set<std::string>{"first.weight", "first.bias", "block.branch.1.weight", "stack.0.weight",
                                        "stack.0.bias", "stack.1.weight", "stack.1.bias"});
  CHECK(file.outputs[0].name == "output");
  CHECK(written_onnx(heed::Stack<Linear<float>>({}), {{5, 3}}).ops() == "Identity");
}

TEST_CASE("ONNX rows: activations keep the layout") {
  const Shape map{2, 5, 4, 3};
  CHECK(written_onnx(heed::Relu<float>(), {map}).ops() == "Relu");
  CHECK(written_onnx(heed::Silu<float>(), {map}).ops() == "Sigmoid Mul");
  CHECK(written_onnx(heed::Gelu<float>(), {map}).nodes[0].attribute("approximate").s == "none");
  const auto tanh = written_onnx(heed::Gelu<float>({.approximate = heed::GeluApproximation::tanh}), {map});
  CHECK(tanh.ops() == "Gelu");
  CHECK(tanh.nodes[0].attribute("approximate").s == "tanh");
  CHECK(tanh.inputs[0].dims == Words{"N", "3", "5", "4"});
  CHECK(tanh.outputs[0].dims == Words{"N", "3", "5", "4"});
}

TEST_CASE("ONNX rows: activations carry their options") {
  CHECK(written_onnx(heed::Elu<float>({.alpha = 0.5}), {{2, 3}}).nodes[0].attribute("alpha").f == 0.5f);
  CHECK(written_onnx(heed::LeakyRelu<float>({.negative_slope = 0.25}), {{2, 3}}).nodes[0].attribute("alpha").f == 0.25f);
  CHECK(written_onnx(heed::Sigmoid<float>(), {{2, 3}}).ops() == "Sigmoid");
  CHECK(written_onnx(heed::Tanh<float>(), {{2, 3}}).ops() == "Tanh");
  CHECK(written_onnx(heed::Silu<float>({.alpha = 2}), {{2, 3}}).ops() == "Mul Sigmoid Mul");
}

TEST_CASE("ONNX rows: softmax over the axis where it lies") {
  const auto channels = written_onnx(heed::Softmax<float>(), {{2, 5, 4, 3}});
  CHECK(channels.ops() == "Softmax");
  CHECK(channels.nodes[0].attribute("axis").i == 1);
  CHECK(written_onnx(heed::Softmax<float>({.dim = 2}), {{2, 5, 4, 3}}).nodes[0].attribute("axis").i == 3);
  CHECK(written_onnx(heed::LogSoftmax<float>(), {{2, 3}}).nodes[0].attribute("axis").i == 1);
}

TEST_CASE("ONNX rows: Embedding reads whole numbers") {
  const auto file = written_onnx(heed::Embedding<float>({.num_embeddings = 7, .embedding_dim = 3}), {{2, 5}});
  CHECK(file.ops() == "Gather");
  CHECK(file.nodes[0].inputs == Words{"weight", "input"});
  CHECK(file.inputs[0].type == 7);
  CHECK(file.outputs[0].type == 1);
  CHECK(file.outputs[0].dims == Words{"N", "5", "3"});
}

TEST_CASE("ONNX rows: RMSNorm divides by the root of the mean of squares") {
  const auto file = written_onnx(heed::RMSNorm<float>({.normalized_shape = {4, 3}, .eps = 0.5}), {{2, 4, 3}});
  CHECK(file.ops() == "Mul ReduceMean Add Sqrt Div Mul");
  CHECK(file.initializers.at(file.node("RMSNorm/variance").inputs[1]).integers() == Integers{1, 2});
  CHECK(file.initializers.at("0.5").floats()[0] == 0.5f);
  CHECK(written_onnx(heed::RMSNorm<float>({.normalized_shape = {3}, .elementwise_affine = false}), {{2, 3}}).nodes.back().op == "Div");
}

TEST_CASE("ONNX rows: LayerNorm and Flatten read the features last") {
  const auto norm = written_onnx(heed::LayerNorm<float>({.normalized_shape = {3}, .eps = 0.5}), {{2, 5, 4, 3}});
  CHECK(norm.ops() == "Transpose LayerNormalization Transpose");
  CHECK(norm.node("LayerNorm").attribute("axis").i == -1);
  CHECK(norm.node("LayerNorm").attribute("epsilon").f == 0.5f);
  CHECK(norm.node("LayerNorm").inputs == Words{"input/channels_last", "weight", "bias"});
  const auto plain = written_onnx(heed::LayerNorm<float>({.normalized_shape = {4, 3}, .elementwise_affine = false}), {{2, 4, 3}});
  CHECK(plain.ops() == "LayerNormalization");
  CHECK(plain.node("LayerNorm").attribute("axis").i == -2);
  CHECK(plain.initializers.at("LayerNorm/ones").floats() == std::vector<float>(12, 1.0f));
  const auto flat = written_onnx(heed::Flatten<float>(), {{2, 5, 4, 3}});
  CHECK(flat.ops() == "Transpose Flatten");
  CHECK(flat.outputs[0].dims == Words{"N", "60"});
}

TEST_CASE("ONNX rows: positions are a table that is added or multiplied") {
  using namespace heed;
  const PositionalEncoding<float> sines({.features = 4, .tokens = 9});
  const auto cut = written_onnx(sines, {{2, 7, 4}});
  CHECK(cut.ops() == "Slice Add");
  CHECK(cut.initializers.at("sines").dims == Integers{9, 4});
  CHECK(cut.initializers.at("sines").floats()[5] == sines.encoding()(1, 1));
  CHECK(cut.initializers.at(cut.node("PositionalEncoding/positions").inputs[2]).integers() == Integers{7});
  CHECK(written_onnx(sines, {{2, 9, 4}}).ops() == "Add");
  const PositionalEncoding<float> map(
      {.features = 4, .height = 3, .width = 2, .kind = PositionKind::learned, .use = PositionUse::multiplied});
  const auto image = written_onnx(map, {{2, 3, 2, 4}});
  CHECK(image.ops() == "Transpose Reshape Mul Transpose");
  CHECK(image.initializers.at(image.node("PositionalEncoding/map").inputs[1]).integers() == Integers{3, 2, 4});
  CHECK(image.initializers.at("weight").dims == Integers{6, 4});
  CHECK(written_onnx(map, {{2, 6, 4}}).ops() == "Mul");
}

TEST_CASE("ONNX rows: OutputProjection joins its two inputs") {
  const auto file =
      written_onnx(heed::OutputProjection<float>({.context_features = 2, .input_features = 3, .out_features = 4}), {{5, 6, 2}, {5, 6, 3}});
  CHECK(file.ops() == "Concat Transpose MatMul Add");
  CHECK(file.nodes[0].inputs == Words{"context", "input"});
  CHECK(file.nodes[0].attribute("axis").i == -1);
}

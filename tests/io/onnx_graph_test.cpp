// SPDX-License-Identifier: MIT
#include <string>
#include <vector>

#include <heed/io/onnx_graph.hpp>

#include "catch.hpp"
#include "reference/onnx_reference.hpp"

using heed::Index;
using heed::Shape;
using heed::io::DescribedLayer;
using heed::io::OnnxEmitters;
using heed::io::OnnxGraph;
using heed::io::OnnxType;
using heed::io::OnnxValue;
using heed::io::ProtobufWriter;
using reference::OnnxFile;

namespace {

OnnxFile decoded(const OnnxGraph& graph) { return OnnxFile(ProtobufWriter().message(7, graph.message("graph")).encoded()); }

}  // namespace

TEST_CASE("ONNX graph: axes of a value in both layouts") {
  const OnnxValue last{"x", {2, 3, 4, 5}}, first{"x", {2, 3, 4, 5}, true};
  for (int axis = 0; axis < 4; ++axis) CHECK(last.axis(axis) == axis);
  CHECK(first.axis(0) == 0);
  CHECK(first.axis(1) == 2);
  CHECK(first.axis(2) == 3);
  CHECK(first.axis(3) == 1);
  CHECK(first.axis(-1) == 1);
}

TEST_CASE("ONNX graph: nodes, attributes, initialisers, inputs and outputs") {
  const OnnxEmitters none;
  OnnxGraph graph(none, "y");
  DescribedLayer layer{"a.b", "Odd", {}, {}, {}};
  const double weight[] = {0.1, 2};
  layer.tensors.push_back({"weight", {2, 1}, heed::Dtype::f64, weight});
  const OnnxValue x = graph.input("x", {7, 2}, OnnxType::float32, true);
  CHECK(graph.parameter(layer, "weight") == "a.b.weight");
  CHECK(graph.parameter(layer, "weight") == "a.b.weight");
  const std::string sum = graph.node(layer, "Add", {x.name, graph.scalar(0.5)}, {}, "sum");
  CHECK(sum == "a.b/sum");
  CHECK(graph.scalar(0.5) == graph.scalar(0.5));
  CHECK(graph.integers({0, -1}) == "[0,-1]");
  const auto parts = graph.nodes(
      layer, "Split", {sum}, {{"axis", -1}, {"factor", 0.25}, {"mode", "fast"}, {"sizes", std::vector<Index>{3, -4}}}, {"p", "q"});
  CHECK(parts == std::vector<std::string>{"a.b/p", "a.b/q"});
  const std::string shaped = graph.node(layer, "Reshape", {parts[0], graph.integers({0, -1})}, {}, "sum");  // a word that is taken
  const std::string y = graph.node(layer, "MatMul", {shaped, "a.b.weight"});
  CHECK(y == "a.b");
  graph.output({y, {7, 1}}, true);

  const OnnxFile file = decoded(graph);
  CHECK(file.graph_name == "graph");
  CHECK(file.ops() == "Add Split Reshape MatMul");
  CHECK(file.node("a.b").outputs == std::vector<std::string>{"y"});
  CHECK(file.node("a.b/sum/2").op == "Reshape");
  const auto& split = file.node("a.b/p");
  CHECK(split.attribute("axis").type == 2);
  CHECK(split.attribute("axis").i == -1);
  CHECK(split.attribute("factor").type == 1);
  CHECK(split.attribute("factor").f == 0.25f);
  CHECK(split.attribute("mode").type == 3);
  CHECK(split.attribute("mode").s == "fast");
  CHECK(split.attribute("sizes").type == 7);
  CHECK(split.ints("sizes") == std::vector<std::int64_t>{3, -4});
  CHECK(file.initializer_names() == std::set<std::string>{"0.5", "[0,-1]", "a.b.weight"});
  CHECK(file.initializers.at("a.b.weight").dims == std::vector<std::int64_t>{2, 1});
  CHECK(file.initializers.at("a.b.weight").floats() == std::vector<float>{0.1f, 2.0f});
  CHECK(file.initializers.at("0.5").dims.empty());
  CHECK(file.initializers.at("[0,-1]").integers() == std::vector<std::int64_t>{0, -1});
  REQUIRE(file.inputs.size() == 1);
  CHECK(file.inputs[0].name == "x");
  CHECK(file.inputs[0].type == 1);
  CHECK(file.inputs[0].dims == std::vector<std::string>{"N", "2"});
  REQUIRE(file.outputs.size() == 1);
  CHECK(file.outputs[0].name == "y");
}

TEST_CASE("ONNX graph: a value is transposed once, and back it is the value itself") {
  const OnnxEmitters none;
  OnnxGraph graph(none, "y");
  const OnnxValue x = graph.input("x", {2, 4, 5, 3}, OnnxType::float32, true);
  CHECK(x.channels_first);
  CHECK(graph.channels_first(x).name == "x");
  const OnnxValue last = graph.channels_last(x);
  CHECK(last.name == "x/channels_last");
  CHECK(last.shape == x.shape);
  CHECK(graph.channels_last(x).name == last.name);
  CHECK(graph.channels_first(last).name == "x");
  const OnnxValue tokens{"x", {2, 4, 3}};
  CHECK(graph.channels_first({"x", {2, 3}}).name == "x");
  graph.output(last, false);
  const OnnxFile file = decoded(graph);
  CHECK(file.ops() == "Transpose");
  CHECK(file.nodes[0].ints("perm") == std::vector<std::int64_t>{0, 2, 3, 1});
  CHECK(file.inputs[0].dims == std::vector<std::string>{"N", "3", "4", "5"});
  CHECK(file.outputs[0].dims == std::vector<std::string>{"N", "4", "5", "3"});

  OnnxGraph other(none, "y");
  other.output(other.channels_first(other.input("x", {2, 4, 3}, OnnxType::int64, true)), false);  // tokens: as they are
  CHECK(decoded(other).ops() == "Transpose Identity");
  CHECK(decoded(other).nodes[0].ints("perm") == std::vector<std::int64_t>{0, 2, 1});
  CHECK(decoded(other).inputs[0].type == 7);
}

TEST_CASE("ONNX graph: reshapes keep the batch free, and are left out where nothing changes") {
  const OnnxEmitters none;
  OnnxGraph graph(none, "y");
  const DescribedLayer layer{"", "Odd", {}, {}, {}};
  const OnnxValue x = graph.input("x", {2, 4, 6}, OnnxType::float32, true);
  CHECK(graph.reshape(layer, x, {2, 4, 6}, "same").name == "x");
  const OnnxValue rows = graph.reshape(layer, x, {2, 4, 3, 2}, "rows");
  const OnnxValue y = graph.transpose(layer, rows, {0, 2, 1, 3}, "");
  CHECK(y.shape == Shape{2, 3, 4, 2});
  graph.output(y, false);
  const OnnxFile file = decoded(graph);
  CHECK(file.node("Odd/rows").inputs[1] == "[0,4,3,2]");
  CHECK(file.node("Odd").ints("perm") == std::vector<std::int64_t>{0, 2, 1, 3});
}

TEST_CASE("ONNX graph: names that collide and kinds that nobody knows") {
  const OnnxEmitters none;
  OnnxGraph graph(none, "y");
  const OnnxValue x = graph.input("x", {2, 4}, OnnxType::float32, true);
  CHECK_THROWS_WITH(graph.input("x", {2, 4}, OnnxType::float32, true), contains("named x"));
  CHECK_THROWS_WITH(graph.input("y", {2, 4}, OnnxType::float32, true), contains("named y"));
  DescribedLayer layer{"block.odd", "Odd", {}, {}, {}};
  CHECK_THROWS_WITH(graph.emit(layer, x), contains("layer block.odd (Odd) has no counterpart in ONNX"));
  // Layers may be called as inputs and outputs are.
  const std::string middle = graph.node({"x", "Odd", {}, {}, {}}, "Relu", {"x"});
  CHECK(middle == "x/2");
  const std::string last = graph.node({"y", "Odd", {}, {}, {}}, "Relu", {middle});
  graph.output({last, {2, 4}}, true);
  const OnnxFile file = decoded(graph);
  CHECK(file.node("x").outputs[0] == "x/2");
  CHECK(file.node("y").outputs[0] == "y");
  const float one[] = {1}, two[] = {2};
  layer.tensors.push_back({"weight", {1}, heed::Dtype::f32, one});
  graph.parameter(layer, "weight");
  layer.tensors[0].data = two;
  CHECK_THROWS_WITH(graph.parameter(layer, "weight"), contains("two parameters are named block.odd.weight"));
}

// SPDX-License-Identifier: MIT
#include <string>

#include <heed/io/onnx.hpp>
#include <heed/layers/linear.hpp>
#include <heed/layers/multi_head_attention.hpp>
#include <heed/layers/output_projection.hpp>

#include "catch.hpp"
#include "io/scratch_folder.hpp"
#include "written_onnx.hpp"

using heed::Shape;
using heed::io::DescribedLayer;
using heed::io::OnnxGraph;
using heed::io::OnnxOptions;
using heed::io::OnnxValue;

namespace {

/// A user's layer: y = factor · x.
class Twice : public heed::LayerBase<Twice> {
 public:
  using scalar = float;
  Shape output_shape(const Shape& in) const { return in; }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("Twice");
  }
};

/// Says another shape than its nodes have.
class Wrong : public heed::LayerBase<Wrong> {
 public:
  using scalar = float;
  Shape output_shape(const Shape&) const { return {7}; }
  template <class Self, class V>
  static void describe_members(Self&, V& visitor) {
    visitor.kind("Relu");
  }
};

class Net : public heed::LayerBase<Net> {
 public:
  using scalar = float;
  Shape output_shape(const Shape& in) const { return heed::child_shape("odd", odd_, heed::child_shape("linear", linear_, in)); }
  template <class Self, class V>
  static void describe_members(Self& self, V& visitor) {
    visitor.kind("Sequential");
    visitor.child("linear", self.linear_);
    visitor.child("odd", self.odd_);
  }
  heed::Linear<float> linear_{{.in_features = 2, .out_features = 3}};
  Twice odd_;
};

}  // namespace

TEST_CASE("onnx_emitters: rows, images and attention") {
  const heed::io::OnnxEmitters emitters = heed::io::onnx_emitters();
  for (const char* kind : {"Linear", "Conv2d", "MultiHeadAttention"}) CHECK(emitters.contains(kind));
}

TEST_CASE("write_onnx: the file says what it is") {
  const heed::Linear<float> linear({.in_features = 2, .out_features = 3});
  OnnxOptions options{.input_names = {"features"}, .output_name = "logits", .graph_name = "net"};
  options.metadata = {{"class_names", "[\"cat\",\"dog\"]"}, {"mean", "[0.5]"}};
  const auto file = written_onnx(linear, {{1, 2}}, options);
  CHECK(file.ir_version == 9);
  CHECK(file.opset == 20);
  CHECK(file.domain.empty());
  CHECK(file.producer == "heed");
  CHECK(file.graph_name == "net");
  CHECK(file.metadata == std::map<std::string, std::string>{{"class_names", "[\"cat\",\"dog\"]"}, {"mean", "[0.5]"}});
  CHECK(file.inputs[0].name == "features");
  CHECK(file.inputs[0].dims == Words{"N", "2"});
  CHECK(file.outputs[0].name == "logits");
  CHECK(heed::io::onnx_bytes(linear, {{1, 2}}) == heed::io::onnx_bytes(linear, {{1, 2}}));
}

TEST_CASE("write_onnx: a layer without counterpart is named, and a user can give one") {
  const Net net;
  CHECK_THROWS_WITH(written_onnx(net, {{1, 2}}),
      "write_onnx: layer odd (Twice) has no counterpart in ONNX that is known; give OnnxOptions::emitters one for this kind");
  OnnxOptions options;
  options.emitters["Twice"] = [](OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
    return OnnxValue{graph.node(layer, "Mul", {in[0].name, graph.scalar(2)}), in[0].shape, in[0].channels_first};
  };
  CHECK(written_onnx(net, {{1, 2}}, options).ops() == "Gemm Mul");
  // They come before heed's own.
  options.emitters["Linear"] = options.emitters["Twice"];
  CHECK_THROWS_AS(written_onnx(net, {{1, 2}}, options), heed::ShapeError);  // not what the model gives
  CHECK_THROWS_WITH(written_onnx(Wrong(), {{1, 2}}), "write_onnx: the graph's output is 1x2, the model's 7");
}

TEST_CASE("write_onnx: one, two or three inputs under the names that are asked for") {
  const heed::OutputProjection<float> joined({.context_features = 2, .input_features = 3, .out_features = 4});
  const heed::MultiHeadAttention<float> attention({.embed_dim = 4, .num_heads = 2, .kdim = 3, .vdim = 5});
  OnnxOptions options;
  options.input_names = {"c", "x"};
  CHECK(!heed::io::onnx_bytes(joined, {{5, 2}, {5, 3}}, options).empty());
  options.input_names = {"q", "k", "v"};
  CHECK(!heed::io::onnx_bytes(attention, {{1, 2, 4}, {1, 6, 3}, {1, 6, 5}}, options).empty());
}

TEST_CASE("write_onnx: inputs that the model does not take") {
  const heed::Linear<float> linear({.in_features = 2, .out_features = 3});
  CHECK_THROWS_AS(written_onnx(linear, {{1, 3}}), heed::ShapeError);
  CHECK_THROWS_AS(written_onnx(linear, {{}}), heed::ShapeError);
  CHECK_THROWS_WITH(written_onnx(linear, {{1, 2}, {1, 2}}), contains("does not take 2 inputs"));
  CHECK_THROWS_WITH(heed::io::onnx_bytes(linear, {{1, 2}, {1, 2}}), contains("2 inputs, 1 names"));
}

TEST_CASE("write_onnx: the file is written whole, or not at all") {
  const ScratchFolder folder;
  const heed::Linear<float> linear({.in_features = 2, .out_features = 3});
  heed::io::write_onnx(folder.file("net.onnx"), linear, Shape{1, 2});
  CHECK(heed::read_file(folder.file("net.onnx")) == heed::io::onnx_bytes(linear, {{1, 2}}));
  CHECK_THROWS_AS(heed::io::write_onnx(folder.file("odd.onnx"), Net(), Shape{1, 2}), std::invalid_argument);
  CHECK_THROWS_AS(heed::io::write_onnx(folder.file("none/net.onnx"), linear, Shape{1, 2}), heed::FileError);
  CHECK(folder.count() == 1);
}

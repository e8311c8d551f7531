// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <heed/io/onnx_graph.hpp>

namespace heed::inline HEED_ABI::io {

namespace detail {

/// y = x Wᵀ + b on the last axis: Gemm of a matrix, otherwise MatMul and Add. `weight` (out, in) and `bias` are names of values; an empty bias
/// is none. `word` tells several of one layer apart.
inline OnnxValue emit_product(OnnxGraph& graph, const DescribedLayer& layer, const OnnxValue& x, const std::string& weight,
    const std::string& bias, Index out_features, std::string_view word = {}) {
  const OnnxValue last = graph.channels_last(x);
  const Shape out = replace_features(last.shape, out_features);
  if (last.shape.rank() == 2) {
    std::vector<std::string> inputs{last.name, weight};
    if (!bias.empty()) inputs.push_back(bias);
    return {graph.node(layer, "Gemm", std::move(inputs), {{"transB", 1}}, word), out};
  }
  const std::string prefix = word.empty() ? std::string() : text(word, '/');
  const std::string turned = graph.node(layer, "Transpose", {weight}, {{"perm", std::vector<Index>{1, 0}}}, prefix + "weight");
  const std::string product = graph.node(layer, "MatMul", {last.name, turned}, {}, bias.empty() ? std::string(word) : prefix + "product");
  return {bias.empty() ? product : graph.node(layer, "Add", {product, bias}, {}, word), out};
}

/// A layer with the parameters weight (out, in) and, perhaps, bias.
inline OnnxValue emit_linear(OnnxGraph& graph, const DescribedLayer& layer, const OnnxValue& x) {
  return emit_product(graph, layer, x, graph.parameter(layer, "weight"), layer.find("bias") ? graph.parameter(layer, "bias") : "",
      layer.tensor("weight").shape[0]);
}

/// Element by element: layout and shape stay.
inline OnnxValue emit_elementwise(
    OnnxGraph& graph, const DescribedLayer& layer, std::string_view op, const OnnxValue& x, std::vector<OnnxAttribute> attributes = {}) {
  return {graph.node(layer, op, {x.name}, std::move(attributes)), x.shape, x.channels_first};
}

/// Children one after another.
inline OnnxValue emit_chain(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  if (layer.children.empty()) return in[0];
  OnnxValue value = graph.emit(layer.children[0], in);
  for (std::size_t i = 1; i < layer.children.size(); ++i) value = graph.emit(layer.children[i], value);
  return value;
}

/// x + y, in the layout of y.
inline OnnxValue emit_sum(
    OnnxGraph& graph, const DescribedLayer& layer, const OnnxValue& x, const OnnxValue& y, std::string_view word = {}) {
  const OnnxValue same = y.channels_first ? graph.channels_first(x) : graph.channels_last(x);
  return {graph.node(layer, "Add", {same.name, y.name}, {}, word), y.shape, y.channels_first};
}

/// A vector of one number a feature in the shape in which it meets `x`.
inline std::string along_features(OnnxGraph& graph, const DescribedLayer& layer, std::string_view name, const OnnxValue& x) {
  std::string vector = graph.parameter(layer, name);
  if (!x.channels_first) return vector;
  std::vector<Index> shape(static_cast<std::size_t>(x.shape.rank() - 1), 1);
  shape[0] = x.shape.features();
  return graph.node(layer, "Reshape", {vector, graph.integers(shape)}, {}, text(name, "/channels_first"));
}

/// x ⊙ weight + bias, one of each a feature.
inline OnnxValue emit_affine(OnnxGraph& graph, const DescribedLayer& layer, OnnxValue x) {
  x.name = graph.node(layer, "Mul", {x.name, along_features(graph, layer, "weight", x)}, {}, "scaled");
  x.name = graph.node(layer, "Add", {x.name, along_features(graph, layer, "bias", x)});
  return x;
}

/// (x − mean) / √(variance + eps) over heed's `axes`; without `centred`, x / √(mean of squares + eps).
inline OnnxValue emit_standardized(
    OnnxGraph& graph, const DescribedLayer& layer, OnnxValue x, const std::vector<int>& axes, double eps, bool centred) {
  std::vector<Index> where;
  for (int axis : axes) where.push_back(x.axis(axis));
  const std::string over = graph.integers(where);
  if (centred) {
    const std::string mean = graph.node(layer, "ReduceMean", {x.name, over}, {{"keepdims", 1}}, "mean");
    x.name = graph.node(layer, "Sub", {x.name, mean}, {}, "centred");
  }
  const std::string squares = graph.node(layer, "Mul", {x.name, x.name}, {}, "squares");
  const std::string variance = graph.node(layer, "ReduceMean", {squares, over}, {{"keepdims", 1}}, "variance");
  const std::string raised = graph.node(layer, "Add", {variance, graph.scalar(eps)}, {}, "variance_eps");
  x.name = graph.node(layer, "Div", {x.name, graph.node(layer, "Sqrt", {raised}, {}, "deviation")}, {}, "standardized");
  return x;
}

inline OnnxValue emit_layer_norm(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  const OnnxValue x = graph.channels_last(in[0]);
  const std::vector<Index> sizes = layer.integers("normalized_shape");
  const Shape shape(sizes.data(), sizes.size());
  std::vector<std::string> inputs{x.name};
  if (layer.find("weight"))
    inputs.push_back(graph.parameter(layer, "weight"));
  else
    inputs.push_back(graph.floats(layer, "ones", shape, std::vector<float>(static_cast<std::size_t>(shape.size()), 1.0f)));
  if (layer.find("bias")) inputs.push_back(graph.parameter(layer, "bias"));
  return {graph.node(layer, "LayerNormalization", std::move(inputs), {{"axis", -shape.rank()}, {"epsilon", layer.number("eps")}}), x.shape};
}

inline OnnxValue emit_rms_norm(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  std::vector<int> axes;
  for (int axis = -static_cast<int>(layer.integers("normalized_shape").size()); axis < 0; ++axis) axes.push_back(axis);
  OnnxValue y = emit_standardized(graph, layer, graph.channels_last(in[0]), axes, layer.number("eps"), false);
  if (layer.find("weight")) y.name = graph.node(layer, "Mul", {y.name, graph.parameter(layer, "weight")});
  return y;
}

inline OnnxValue emit_positional_encoding(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  const OnnxValue x = graph.channels_last(in[0]);
  const bool learned = layer.find("weight") != nullptr;
  std::string table = graph.parameter(layer, learned ? "weight" : "sines");
  const Shape& whole = layer.tensor(learned ? "weight" : "sines").shape;
  if (layer.has_option("map") && x.shape[-2] != whole[0])  // (..., H, W, C)
    table = graph.node(layer, "Reshape", {table, graph.integers({x.shape[-3], x.shape[-2], whole[1]})}, {}, "map");
  else if (x.shape[-2] < whole[0])
    table = graph.node(layer, "Slice", {table, graph.integers({0}), graph.integers({x.shape[-2]}), graph.integers({0})}, {}, "positions");
  return {graph.node(layer, layer.option("use") == "added" ? "Add" : "Mul", {x.name, table}), x.shape};
}

}  // namespace detail

/// Layers that read rows, and composers.
inline OnnxEmitters onnx_row_emitters() {
  using Inputs = std::span<const OnnxValue>;
  const auto elementwise = [](const char* op) {
    return [op](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) { return detail::emit_elementwise(graph, layer, op, in[0]); };
  };
  OnnxEmitters emitters;
  emitters["Sequential"] = emitters["Stack"] = detail::emit_chain;
  emitters["Residual"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    const OnnxValue beside = layer.has_child("shortcut") ? graph.emit(layer.child("shortcut"), in) : in[0];
    return detail::emit_sum(graph, layer, beside, graph.emit(layer.child("branch"), in));
  };
  emitters["Linear"] = emitters["QkvProjection"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    return detail::emit_linear(graph, layer, in[0]);
  };
  emitters["OutputProjection"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    const OnnxValue context = graph.channels_last(in[0]), x = graph.channels_last(in[1]);
    const std::string both = graph.node(layer, "Concat", {context.name, x.name}, {{"axis", -1}}, "joined");
    return detail::emit_linear(graph, layer, {both, replace_features(x.shape, context.shape.features() + x.shape.features())});
  };
  emitters["Dropout"] = [](OnnxGraph&, const DescribedLayer&, Inputs in) { return in[0]; };
  emitters["Flatten"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    const OnnxValue x = graph.channels_last(in[0]);
    const Index features = std::accumulate(x.shape.begin() + 1, x.shape.end(), Index{1}, std::multiplies<>());
    return OnnxValue{graph.node(layer, "Flatten", {x.name}, {{"axis", 1}}), {x.shape[0], features}};
  };
  emitters["Scale"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    return OnnxValue{graph.node(layer, "Mul", {in[0].name, graph.scalar(layer.number("factor"))}), in[0].shape, in[0].channels_first};
  };
  emitters["LayerNorm"] = detail::emit_layer_norm;
  emitters["PositionalEncoding"] = detail::emit_positional_encoding;
  emitters["Relu"] = elementwise("Relu");
  emitters["Sigmoid"] = elementwise("Sigmoid");
  emitters["Tanh"] = elementwise("Tanh");
  emitters["Gelu"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    return detail::emit_elementwise(graph, layer, "Gelu", in[0], {{"approximate", layer.option("approximate")}});
  };
  emitters["Silu"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    std::string x = in[0].name;
    if (const double alpha = layer.number("alpha"); alpha != 1) x = graph.node(layer, "Mul", {x, graph.scalar(alpha)}, {}, "scaled");
    const std::string gate = graph.node(layer, "Sigmoid", {x}, {}, "gate");
    return OnnxValue{graph.node(layer, "Mul", {in[0].name, gate}), in[0].shape, in[0].channels_first};
  };
  emitters["Elu"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    return detail::emit_elementwise(graph, layer, "Elu", in[0], {{"alpha", layer.number("alpha")}});
  };
  emitters["LeakyRelu"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    return detail::emit_elementwise(graph, layer, "LeakyRelu", in[0], {{"alpha", layer.number("negative_slope")}});
  };
  for (const char* kind : {"Softmax", "LogSoftmax"})
    emitters[kind] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
      const Index axis = in[0].axis(static_cast<int>(layer.integer("dim")));
      return detail::emit_elementwise(graph, layer, layer.kind, in[0], {{"axis", axis}});
    };
  emitters["Embedding"] = [](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) {
    Shape shape = in[0].shape;
    shape.push_back(layer.integer("embedding_dim"));
    return OnnxValue{graph.node(layer, "Gather", {graph.parameter(layer, "weight"), in[0].name}, {{"axis", 0}}), shape};
  };
  emitters["RMSNorm"] = detail::emit_rms_norm;
  return emitters;
}

}  // namespace heed::inline HEED_ABI::io

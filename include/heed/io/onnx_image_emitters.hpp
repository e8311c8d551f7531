// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <heed/io/onnx_row_emitters.hpp>

namespace heed::io {

namespace detail {

/// Sizes, one for each axis of space, of an option that gives one for all or each.
inline std::vector<Index> spatial(const DescribedLayer& layer, std::string_view option, int axes) {
  std::vector<Index> sizes = layer.integers(option);
  if (sizes.size() == 1) sizes.resize(static_cast<std::size_t>(axes), sizes[0]);
  return sizes;
}

/// The output shape that the model gave; known wherever composers ask children for it (`child_shape`).
inline const Shape& known_output(const DescribedLayer& layer) {
  require(layer.out.rank() > 0, "write_onnx: the layer around ", layer.label(), " does not say its shape; its output_shape must ask its ",
      "children through child_shape");
  return layer.out;
}

inline OnnxValue emit_convolution(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  const OnnxValue x = graph.channels_first(in[0]);
  const int axes = x.shape.rank() - 2;
  std::vector<Index> pads = spatial(layer, "padding", axes);
  if (static_cast<int>(pads.size()) == axes) pads.insert(pads.end(), pads.begin(), pads.begin() + axes);  // both sides alike
  std::vector<std::string> inputs{x.name, graph.parameter(layer, "weight")};
  if (layer.find("bias")) inputs.push_back(graph.parameter(layer, "bias"));
  return {graph.node(layer, "Conv", std::move(inputs),
              {{"kernel_shape", spatial(layer, "kernel_size", axes)}, {"strides", spatial(layer, "stride", axes)}, {"pads", pads},
                  {"dilations", spatial(layer, "dilation", axes)}, {"group", layer.integer("groups")}}),
      known_output(layer), true};
}

/// Windows in ceil mode may hang over the padded edge: that becomes padding behind, as long as ONNX Runtime takes it (less than the kernel). A
/// Pad node stands before maxima with more of it, and before averages that count padding but not what hangs over it.
inline OnnxValue emit_pool(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in, bool max) {
  OnnxValue x = graph.channels_first(in[0]);
  const Shape& out = known_output(layer);
  const int axes = x.shape.rank() - 2;
  const std::vector<Index> kernel = spatial(layer, "kernel_size", axes), stride = spatial(layer, "stride", axes);
  const std::vector<Index> dilation =
      layer.has_option("dilation") ? spatial(layer, "dilation", axes) : std::vector<Index>(static_cast<std::size_t>(axes), 1);
  std::vector<Index> padding = spatial(layer, "padding", axes);
  if (static_cast<int>(padding.size()) == axes) padding.insert(padding.end(), padding.begin(), padding.begin() + axes);
  std::vector<Index> over(padding.size(), 0);  // what hangs over the padded edge
  bool fits = true;
  for (std::size_t i = 0; i < kernel.size(); ++i) {
    const std::size_t behind = i + kernel.size();
    const Index axis = static_cast<Index>(i) + 1;
    const Index reached = (out[static_cast<int>(axis)] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1;
    over[behind] = std::max<Index>(reached - x.shape[static_cast<int>(axis)] - padding[i] - padding[behind], 0);
    fits = fits && padding[i] < kernel[i] && padding[behind] + over[behind] < kernel[i];
  }
  const bool average_all = !max && layer.flag("count_include_pad");
  require(max || fits, "write_onnx: ", layer.label(), ": windows hang over the edge by more than ONNX allows");
  if (average_all || !fits) {
    const std::size_t rank = kernel.size() + 2;
    std::vector<Index> pads(2 * rank, 0);
    Index sum = 0;
    for (std::size_t i = 0; i < padding.size(); ++i) {
      Index& pad = pads[i < kernel.size() ? i + 2 : i - kernel.size() + rank + 2];
      pad = std::exchange(padding[i], 0) + (max ? std::exchange(over[i], 0) : 0);
      sum += pad;
    }
    const double border = max ? -std::numeric_limits<double>::infinity() : 0.0;
    if (sum > 0) x.name = graph.node(layer, "Pad", {x.name, graph.integers(pads), graph.scalar(border)}, {}, "padded");
  }
  std::vector<Index> pads = padding;
  for (std::size_t i = 0; i < pads.size(); ++i) pads[i] += over[i];
  std::vector<OnnxAttribute> attributes{{"kernel_shape", kernel}, {"strides", stride}, {"pads", pads}, {"dilations", dilation}};
  if (!max) attributes.push_back({"count_include_pad", 0});
  return {graph.node(layer, max ? "MaxPool" : "AveragePool", {x.name}, std::move(attributes)), out, true};
}

/// The pixels of (N, ..., C) become one: (N, C).
inline OnnxValue emit_global_pool(OnnxGraph& graph, const DescribedLayer& layer, const OnnxValue& x, std::string_view op) {
  std::vector<Index> axes;
  for (int axis = 1; axis + 1 < x.shape.rank(); ++axis) axes.push_back(x.axis(axis));
  return {graph.node(layer, op, {x.name, graph.integers(axes)}, {{"keepdims", 0}}), {x.shape[0], x.shape.features()}};
}

inline OnnxValue emit_batch_norm(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  const bool affine = layer.find("weight") != nullptr;
  if (!layer.find("running_mean")) {  // the statistics of its own input
    std::vector<int> axes;
    for (int axis = 0; axis + 1 < in[0].shape.rank(); ++axis) axes.push_back(axis);
    OnnxValue y = emit_standardized(graph, layer, in[0], axes, layer.number("eps"), true);
    if (!affine) return y;
    y.name = graph.node(layer, "Mul", {y.name, along_features(graph, layer, "weight", y)}, {}, "scaled");
    y.name = graph.node(layer, "Add", {y.name, along_features(graph, layer, "bias", y)});
    return y;
  }
  const OnnxValue x = graph.channels_first(in[0]);
  const auto features = static_cast<std::size_t>(x.shape.features());
  const std::string weight =
      affine ? graph.parameter(layer, "weight") : graph.floats(layer, "ones", {x.shape.features()}, std::vector<float>(features, 1.0f));
  const std::string bias =
      affine ? graph.parameter(layer, "bias") : graph.floats(layer, "zeros", {x.shape.features()}, std::vector<float>(features, 0.0f));
  return {graph.node(layer, "BatchNormalization",
              {x.name, weight, bias, graph.parameter(layer, "running_mean"), graph.parameter(layer, "running_var")},
              {{"epsilon", layer.number("eps")}}),
      x.shape, x.channels_first};
}

}  // namespace detail

/// Layers that read maps: convolution, pooling, batch norm.
inline OnnxEmitters onnx_image_emitters() {
  using Inputs = std::span<const OnnxValue>;
  const auto pool = [](bool max) {
    return [max](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) { return detail::emit_pool(graph, layer, in, max); };
  };
  const auto global = [](const char* op) {
    return [op](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) { return detail::emit_global_pool(graph, layer, in[0], op); };
  };
  OnnxEmitters emitters;
  emitters["Conv2d"] = detail::emit_convolution;
  emitters["MaxPool2d"] = pool(true);
  emitters["AvgPool2d"] = pool(false);
  emitters["GlobalAvgPool2d"] = global("ReduceMean");
  emitters["GlobalMaxPool2d"] = global("ReduceMax");
  emitters["BatchNorm2d"] = detail::emit_batch_norm;
  return emitters;
}

}  // namespace heed::io

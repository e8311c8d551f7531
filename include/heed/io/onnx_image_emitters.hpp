// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <heed/io/onnx_row_emitters.hpp>

namespace heed::inline HEED_ABI::io {

namespace detail {

/// Sizes, one for each axis of space, of an option that gives one for all or each.
inline std::vector<Index> spatial(const DescribedLayer& layer, std::string_view option, int axes) {
  std::vector<Index> sizes = layer.integers(option);
  if (sizes.size() == 1) sizes.resize(static_cast<std::size_t>(axes), sizes[0]);
  return sizes;
}

/// The option padding as one number for each side: in front of all axes, then behind.
inline std::vector<Index> both_sides(const DescribedLayer& layer, int axes) {
  std::vector<Index> pads = spatial(layer, "padding", axes);
  if (static_cast<int>(pads.size()) == axes) pads.insert(pads.end(), pads.begin(), pads.begin() + axes);
  return pads;
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
  std::vector<std::string> inputs{x.name, graph.parameter(layer, "weight")};
  if (layer.find("bias")) inputs.push_back(graph.parameter(layer, "bias"));
  return {graph.node(layer, "Conv", std::move(inputs),
              {{"kernel_shape", spatial(layer, "kernel_size", axes)}, {"strides", spatial(layer, "stride", axes)},
                  {"pads", both_sides(layer, axes)}, {"dilations", spatial(layer, "dilation", axes)}, {"group", layer.integer("groups")}}),
      known_output(layer), true};
}

/// A pooling layer in numbers, for each axis of space; pads are those in front of all axes, then those behind.
struct OnnxPool {
  std::vector<Index> kernel, stride, dilation;
  std::vector<Index> padding;
  std::vector<Index> over;  ///< what hangs over the padded edge in ceil mode, behind

  std::vector<Index> pads() const {
    std::vector<Index> sum = padding;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += over[i];
    return sum;
  }
  /// ONNX Runtime takes less than the kernel as padding.
  bool fits() const {
    const std::vector<Index> all = pads();
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i] >= kernel[i % kernel.size()]) return false;
    return true;
  }
  std::vector<OnnxAttribute> attributes(const std::vector<Index>& pads) const {
    return {{"kernel_shape", kernel}, {"strides", stride}, {"pads", pads}, {"dilations", dilation}};
  }
  std::vector<Index> none() const { return std::vector<Index>(padding.size(), 0); }
};

inline OnnxPool pool_of(const DescribedLayer& layer, const OnnxValue& x, const Shape& out) {
  const int axes = x.shape.rank() - 2;
  OnnxPool pool{.kernel = spatial(layer, "kernel_size", axes),
      .stride = spatial(layer, "stride", axes),
      .dilation = spatial(layer, "dilation", axes),
      .padding = both_sides(layer, axes),
      .over = std::vector<Index>(2 * static_cast<std::size_t>(axes), 0)};
  for (std::size_t i = 0, count = pool.kernel.size(); i < count; ++i) {
    const int axis = static_cast<int>(i) + 1;
    const Index reached = (out[axis] - 1) * pool.stride[i] + pool.dilation[i] * (pool.kernel[i] - 1) + 1;
    pool.over[i + count] = std::max<Index>(reached - x.shape[axis] - pool.padding[i] - pool.padding[i + count], 0);
  }
  return pool;
}

/// `name`, (N, C, ...), with `pads` around it.
inline std::string emit_pad(OnnxGraph& graph, const DescribedLayer& layer, const std::string& name, const std::vector<Index>& pads,
    double value, const std::string& word) {
  if (std::all_of(pads.begin(), pads.end(), [](Index pad) { return pad == 0; })) return name;
  std::vector<Index> all{0, 0};
  all.insert(all.end(), pads.begin(), pads.begin() + static_cast<std::ptrdiff_t>(pads.size() / 2));
  all.insert(all.end(), {0, 0});
  all.insert(all.end(), pads.begin() + static_cast<std::ptrdiff_t>(pads.size() / 2), pads.end());
  return graph.node(layer, "Pad", {name, graph.integers(all), graph.scalar(value)}, {}, word);
}

inline OnnxValue emit_max_pool(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  const OnnxValue x = graph.channels_first(in[0]);
  const Shape& out = known_output(layer);
  const OnnxPool pool = pool_of(layer, x, out);
  if (pool.fits()) return {graph.node(layer, "MaxPool", {x.name}, pool.attributes(pool.pads())), out, true};
  const double nothing = -std::numeric_limits<double>::infinity();
  const std::string padded = emit_pad(graph, layer, x.name, pool.pads(), nothing, "padded");
  return {graph.node(layer, "MaxPool", {padded}, pool.attributes(pool.none())), out, true};
}

/// What is counted is the image, and its padding if the layer says so, but never what hangs over: padding that counts becomes part of the
/// image. For dilated windows, and padding that ONNX Runtime does not take, the mean over zeros around the image is divided by the mean over
/// ones in the image's place.
inline OnnxValue emit_avg_pool(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  const OnnxValue x = graph.channels_first(in[0]);
  const Shape& out = known_output(layer);
  OnnxPool pool = pool_of(layer, x, out);
  const auto average = [&](const std::string& name, const std::vector<Index>& pads, const std::string& word) {
    std::vector<OnnxAttribute> attributes = pool.attributes(pads);
    attributes.push_back({"count_include_pad", 0});
    return graph.node(layer, "AveragePool", {name}, std::move(attributes), word);
  };
  if (const double divisor = layer.has_option("divisor_override") ? layer.number("divisor_override") : 0; divisor > 0) {
    double taps = 1;
    for (Index size : pool.kernel) taps *= static_cast<double>(size);
    const std::string mean = average(emit_pad(graph, layer, x.name, pool.pads(), 0, "padded"), pool.none(), "mean");
    return {graph.node(layer, "Mul", {mean, graph.scalar(taps / divisor)}), out, true};
  }
  std::string image = x.name;
  std::vector<Index> size(x.shape.begin() + 1, x.shape.end() - 1);
  if (layer.flag("count_include_pad")) {
    image = emit_pad(graph, layer, image, pool.padding, 0, "padded");
    for (std::size_t i = 0; i < size.size(); ++i) size[i] += pool.padding[i] + pool.padding[i + size.size()];
    pool.padding = pool.none();
  }
  const bool dilated = std::any_of(pool.dilation.begin(), pool.dilation.end(), [](Index d) { return d > 1; });
  if (pool.fits() && !dilated) return {average(image, pool.pads(), ""), out, true};
  Shape one{1, 1};
  for (Index s : size) one.push_back(s);
  const std::string ones = graph.floats(layer, "ones", one, std::vector<float>(static_cast<std::size_t>(one.size()), 1.0f));
  const std::string sum = average(emit_pad(graph, layer, image, pool.pads(), 0, "padded/all"), pool.none(), "mean");
  const std::string count = average(emit_pad(graph, layer, ones, pool.pads(), 0, "ones/padded"), pool.none(), "share");
  // Where nothing is counted, y = 0: the least share of one tap is 1 / taps.
  double taps = 1;
  for (Index s : pool.kernel) taps *= static_cast<double>(s);
  const std::string divisor = graph.node(layer, "Max", {count, graph.scalar(0.5 / taps)}, {}, "divisor");
  return {graph.node(layer, "Div", {sum, divisor}), out, true};
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
    return affine ? emit_affine(graph, layer, y) : y;
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

/// Each group of channels is one channel of an instance norm.
inline OnnxValue emit_group_norm(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  OnnxValue x = graph.channels_first(in[0]);
  const Index groups = layer.integer("num_groups");
  const auto constant = [&](const char* word, float value) {
    return graph.floats(layer, word, {groups}, std::vector<float>(static_cast<std::size_t>(groups), value));
  };
  const std::string parts = graph.node(layer, "Reshape", {x.name, graph.integers({0, groups, -1})}, {}, "groups");
  const std::string normal = graph.node(
      layer, "InstanceNormalization", {parts, constant("ones", 1), constant("zeros", 0)}, {{"epsilon", layer.number("eps")}}, "normal");
  std::vector<Index> shape(static_cast<std::size_t>(x.shape.rank()), 0);
  for (int axis = 1; axis < x.shape.rank(); ++axis) shape[static_cast<std::size_t>(x.axis(axis))] = x.shape[axis];
  const bool affine = layer.find("weight") != nullptr;
  x.name = graph.node(layer, "Reshape", {normal, graph.integers(shape)}, {}, affine ? "standardized" : "");
  return affine ? emit_affine(graph, layer, x) : x;
}

}  // namespace detail

/// Layers that read maps: convolution, pooling, batch norm.
inline OnnxEmitters onnx_image_emitters() {
  using Inputs = std::span<const OnnxValue>;
  const auto global = [](const char* op) {
    return [op](OnnxGraph& graph, const DescribedLayer& layer, Inputs in) { return detail::emit_global_pool(graph, layer, in[0], op); };
  };
  OnnxEmitters emitters;
  emitters["Conv1d"] = emitters["Conv2d"] = detail::emit_convolution;
  emitters["MaxPool1d"] = emitters["MaxPool2d"] = detail::emit_max_pool;
  emitters["AvgPool1d"] = emitters["AvgPool2d"] = detail::emit_avg_pool;
  emitters["GlobalAvgPool1d"] = emitters["GlobalAvgPool2d"] = global("ReduceMean");
  emitters["GlobalMaxPool1d"] = emitters["GlobalMaxPool2d"] = global("ReduceMax");
  emitters["BatchNorm1d"] = emitters["BatchNorm2d"] = detail::emit_batch_norm;
  emitters["GroupNorm"] = detail::emit_group_norm;
  return emitters;
}

}  // namespace heed::inline HEED_ABI::io

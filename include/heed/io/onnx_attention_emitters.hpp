// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <heed/io/onnx_row_emitters.hpp>

namespace heed::inline HEED_ABI::io {

namespace detail {

/// Attention in numbers; see heed::ScaledDotProductAttention.
struct OnnxAttention {
  Index heads = 1, kv_heads = 1;
  double scale = 0;  ///< 0: 1 / √width
  double softcap = 0;
  bool causal = false;
  Index causal_offset = 0;         ///< query i attends keys 0 ... i + offset
  Index always = 0;                ///< so many of the last keys are attended whatever the mask says
  std::vector<float> slopes = {};  ///< of the heads, if any: -slope |i - j| is added to the scores, but for the last keys above
  std::vector<float> bias = {};    ///< (heads, queries, keys), if any: added to the scores
};

/// (N, T, heads · width) as (N, heads, T, width), or (N, heads, width, T) if `turned`. What has four axes already is (N, heads, T, width).
inline OnnxValue emit_heads(
    OnnxGraph& graph, const DescribedLayer& layer, const OnnxValue& x, Index heads, bool turned, const std::string& word) {
  if (x.shape.rank() == 4) return turned ? graph.transpose(layer, x, {0, 1, 3, 2}, word + "/heads") : graph.channels_last(x);
  const Shape split{x.shape[0], x.shape[1], heads, x.shape[2] / heads};
  const OnnxValue rows = graph.reshape(layer, x, split, word + "/rows");
  return graph.transpose(layer, rows, turned ? std::vector<Index>{0, 2, 3, 1} : std::vector<Index>{0, 2, 1, 3}, word + "/heads");
}

/// softmax(softcap(scale q kᵀ) + mask) v. Several query heads that share a key head meet it by broadcasting, on an axis of their own. A query
/// that may attend no key gets zeros, as in heed.
inline OnnxValue emit_attention(OnnxGraph& graph, const DescribedLayer& layer, const OnnxValue& q_rows, const OnnxValue& k_rows,
    const OnnxValue& v_rows, const OnnxAttention& a, const std::string& word = {}) {
  OnnxValue q = emit_heads(graph, layer, q_rows, a.heads, false, "q"), k = emit_heads(graph, layer, k_rows, a.kv_heads, true, "k"),
            v = emit_heads(graph, layer, v_rows, a.kv_heads, false, "v");
  const Index batch = q.shape[0], queries = q.shape[2], width = q.shape[3], keys = k.shape[3], value_width = v.shape[3];
  const bool grouped = a.heads != a.kv_heads, tokens = q_rows.shape.rank() == 3;
  if (grouped) {
    q = graph.reshape(layer, q, {batch, a.kv_heads, a.heads / a.kv_heads, queries, width}, "q/groups");
    k = graph.reshape(layer, k, {batch, a.kv_heads, 1, width, keys}, "k/groups");
    v = graph.reshape(layer, v, {batch, a.kv_heads, 1, keys, value_width}, "v/groups");
  }
  const double scale = a.scale != 0 ? a.scale : 1 / std::sqrt(static_cast<double>(width));
  const std::string scaled = graph.node(layer, "Mul", {q.name, graph.scalar(scale)}, {}, "q/scaled");
  std::string scores = graph.node(layer, "MatMul", {scaled, k.name}, {}, "scores");
  if (a.softcap > 0) {
    const std::string ratio = graph.node(layer, "Div", {scores, graph.scalar(a.softcap)}, {}, "scores/ratio");
    const std::string bent = graph.node(layer, "Tanh", {ratio}, {}, "scores/tanh");
    scores = graph.node(layer, "Mul", {bent, graph.scalar(a.softcap)}, {}, "scores/capped");
  }
  std::string attending;  // (queries, 1): 0 for queries without a key
  std::vector<float> mask(static_cast<std::size_t>(queries * keys), 0.0f);
  if (a.causal) {
    std::vector<float> any(static_cast<std::size_t>(queries), 1.0f);
    bool all = true;
    for (Index i = 0; i < queries; ++i) {
      const Index end = std::min(std::max<Index>(i + a.causal_offset + 1, 0), keys - a.always);
      if (end == 0 && a.always == 0) {  // a row of -infinity would have no softmax
        any[static_cast<std::size_t>(i)] = 0, all = false;
        continue;
      }
      for (Index j = end; j < keys - a.always; ++j) mask[static_cast<std::size_t>(i * keys + j)] = -std::numeric_limits<float>::infinity();
    }
    if (!all) attending = graph.floats(layer, "attending", {queries, 1}, any);
  }
  Shape mask_shape{queries, keys};
  if (!a.slopes.empty()) {
    const std::vector<float> one = std::exchange(mask, {});
    for (const float slope : a.slopes)
      for (Index i = 0; i < queries; ++i)
        for (Index j = 0; j < keys; ++j) {
          const float distance = j < keys - a.always ? static_cast<float>(std::abs(i + a.causal_offset - j)) : 0.0f;
          mask.push_back(one[static_cast<std::size_t>(i * keys + j)] - slope * distance);
        }
    mask_shape = grouped ? Shape{a.kv_heads, a.heads / a.kv_heads, queries, keys} : Shape{a.heads, queries, keys};
  }
  if (a.causal || !a.slopes.empty())
    scores = graph.node(layer, "Add", {scores, graph.floats(layer, "mask", mask_shape, mask)}, {}, "scores/masked");
  if (!a.bias.empty()) {
    const Shape shape = grouped ? Shape{a.kv_heads, a.heads / a.kv_heads, queries, keys} : Shape{a.heads, queries, keys};
    scores = graph.node(layer, "Add", {scores, graph.floats(layer, "bias", shape, a.bias)}, {}, "scores/biased");
  }
  std::string weights = graph.node(layer, "Softmax", {scores}, {{"axis", -1}}, "weights");
  if (!attending.empty()) weights = graph.node(layer, "Mul", {weights, attending}, {}, "weights/attending");
  const bool last = !grouped && !tokens;
  OnnxValue y{graph.node(layer, "MatMul", {weights, v.name}, {}, last ? word : "context/heads"), {batch, a.heads, queries, value_width}};
  if (grouped) {
    y.shape = {batch, a.kv_heads, a.heads / a.kv_heads, queries, value_width};
    y = graph.reshape(layer, y, {batch, a.heads, queries, value_width}, tokens ? "context/ungrouped" : word);
  }
  if (!tokens) return y;
  y = graph.transpose(layer, y, {0, 2, 1, 3}, "context/rows");
  return graph.reshape(layer, y, {batch, queries, a.heads * value_width}, word);
}

/// A layer must not lose what it does: options and children that its emitter has never heard of are refused.
inline void require_known(
    const DescribedLayer& layer, std::initializer_list<std::string_view> known, std::initializer_list<std::string_view> children = {}) {
  for (const DescribedLayer& child : layer.children)
    require(std::any_of(children.begin(), children.end(), [&](std::string_view name) { return child.path == layer.path_of(name); }),
        "write_onnx: ", layer.label(), " runs ", child.label(), ", which its ONNX form does not know");
  for (const auto& [name, value] : layer.options)
    require(std::find(known.begin(), known.end(), name) != known.end(), "write_onnx: ", layer.label(), " has the option ", name, " = ",
        value, ", which its ONNX form does not know");
}

inline OnnxValue emit_scaled_dot_product(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  require_known(layer, {"num_heads", "num_kv_heads", "scale", "softcap", "causal", "alignment", "dropout"});
  require(in.size() == 3, "write_onnx: ", layer.label(), " takes q, k and v, found ", in.size(), " inputs");
  const bool heads = in[0].shape.rank() == 4;
  OnnxAttention a{.heads = heads ? in[0].shape[1] : layer.integer("num_heads"),
      .kv_heads = heads ? in[1].shape[1] : layer.integer("num_kv_heads"),
      .scale = layer.number("scale"),
      .softcap = layer.number("softcap"),
      .causal = layer.flag("causal")};
  if (layer.option("alignment") == "bottom_right") a.causal_offset = in[1].shape[-2] - in[0].shape[-2];
  return emit_attention(graph, layer, in[0], in[1], in[2], a);
}

/// Pairs of features of each head turn by the angles of the tokens 0 ... T - 1; see heed::RotaryEmbedding.
inline OnnxValue emit_rotary(OnnxGraph& graph, const DescribedLayer& layer, const OnnxValue& in, const std::string& word = {}) {
  const std::string prefix = word.empty() ? word : word + '/';
  const OnnxValue x = graph.channels_last(in);
  const Index width = layer.integer("head_dim"), turned = layer.integer("rotary_dim"), half = turned / 2, tokens = x.shape[-2];
  const bool interleaved = layer.flag("interleaved"), side_by_side = x.shape.rank() == 3;
  const OnnxValue heads = side_by_side ? graph.reshape(layer, x, {x.shape[0], tokens, x.shape[2] / width, width}, prefix + "heads") : x;
  const auto table = [&](std::string_view name) {  // the rows of the tokens, where they meet the heads
    std::vector<float> rows = layer.tensor(name).floats();
    rows.resize(static_cast<std::size_t>(tokens * half));
    return graph.floats(layer, prefix + std::string(name), side_by_side ? Shape{tokens, 1, half} : Shape{tokens, half}, rows);
  };
  const std::string cos = table("cos"), sin = table("sin");
  std::vector<Index> first, second, back;
  for (Index i = 0; i < half; ++i) {
    first.push_back(interleaved ? 2 * i : i), second.push_back(interleaved ? 2 * i + 1 : i + half);
    back.push_back(i), back.push_back(i + half);
  }
  const auto features = [&](const std::vector<Index>& which, const char* name) {
    return graph.node(layer, "Gather", {heads.name, graph.integers(which)}, {{"axis", -1}}, prefix + name);
  };
  const std::string u = features(first, "u"), v = features(second, "v");
  const auto turn = [&](const std::string& a, const std::string& b, const char* op, const std::string& name) {
    const std::string ac = graph.node(layer, "Mul", {a, cos}, {}, name + "_cos"),
                      bs = graph.node(layer, "Mul", {b, sin}, {}, name + "_sin");
    return graph.node(layer, op, {ac, bs}, {}, name);
  };
  const std::string new_u = turn(u, v, "Sub", prefix + "turned_u"), new_v = turn(v, u, "Add", prefix + "turned_v");
  std::vector<std::string> parts{new_u, new_v};
  if (interleaved) {
    const std::string pairs = graph.node(layer, "Concat", parts, {{"axis", -1}}, prefix + "pairs");
    parts = {graph.node(layer, "Gather", {pairs, graph.integers(back)}, {{"axis", -1}}, prefix + "joined")};
  }
  if (turned < width) {
    const auto at = [&](Index value) { return graph.integers({value}); };
    parts.push_back(graph.node(layer, "Slice", {heads.name, at(turned), at(width), at(-1)}, {}, prefix + "rest"));
  }
  const std::string joined = graph.node(layer, "Concat", parts, {{"axis", -1}}, side_by_side ? prefix + "turned" : word);
  return graph.reshape(layer, {joined, heads.shape}, x.shape, word);
}

/// Keys or values with the appended rows behind them: a learned one, a zero one.
inline OnnxValue emit_appended(
    OnnxGraph& graph, const DescribedLayer& layer, const OnnxValue& x, std::string_view learned, const std::string& word) {
  const Index features = x.shape.features();
  std::string rows;
  Index count = 0;
  if (layer.flag("add_bias_kv")) rows = graph.parameter(layer, learned), ++count;
  if (layer.flag("add_zero_attn")) {
    const std::string zeros =
        graph.floats(layer, word + "/zero", {1, 1, features}, std::vector<float>(static_cast<std::size_t>(features), 0.0f));
    rows = count == 0 ? zeros : graph.node(layer, "Concat", {rows, zeros}, {{"axis", 1}}, word + "/new");
    ++count;
  }
  if (count == 0) return x;
  const std::string batch = graph.node(layer, "Shape", {x.name}, {{"start", 0}, {"end", 1}}, word + "/batch");
  const std::string shape = graph.node(layer, "Concat", {batch, graph.integers({count, features})}, {{"axis", 0}}, word + "/new_shape");
  const std::string all = graph.node(layer, "Expand", {rows, shape}, {}, word + "/new_rows");
  return {graph.node(layer, "Concat", {x.name, all}, {{"axis", 1}}, word + "/appended"), {x.shape[0], x.shape[1] + count, features}};
}

/// q, k and v of the three inputs, or of one.
inline std::vector<OnnxValue> emit_qkv(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  const Index e = layer.integer("embed_dim"), g = e / layer.integer("num_heads") * layer.integer("num_kv_heads");
  const Index sizes[] = {e, g, g};
  const bool packed = layer.find("in_proj_weight") != nullptr, bias = layer.find("in_proj_bias") != nullptr;
  const std::vector<std::string> words{"q", "k", "v"};
  const std::string parts = graph.integers({e, g, g});
  std::vector<OnnxValue> result;
  if (in.size() == 1 && packed) {
    const OnnxValue all = emit_product(graph, layer, in[0], graph.parameter(layer, "in_proj_weight"),
        bias ? graph.parameter(layer, "in_proj_bias") : "", e + 2 * g, "in_proj");
    for (const std::string& name : graph.nodes(layer, "Split", {all.name, parts}, {{"axis", -1}}, words))
      result.push_back({name, replace_features(all.shape, sizes[result.size()])});
    return result;
  }
  std::vector<std::string> weights, biases(3);
  if (packed)
    weights =
        graph.nodes(layer, "Split", {graph.parameter(layer, "in_proj_weight"), parts}, {{"axis", 0}}, {"q_weight", "k_weight", "v_weight"});
  else
    for (const std::string& word : words) weights.push_back(graph.parameter(layer, word + "_proj_weight"));
  if (bias)
    biases = graph.nodes(layer, "Split", {graph.parameter(layer, "in_proj_bias"), parts}, {{"axis", 0}}, {"q_bias", "k_bias", "v_bias"});
  for (std::size_t i = 0; i < 3; ++i)
    result.push_back(emit_product(graph, layer, in.size() == 1 ? in[0] : in[i], weights[i], biases[i], sizes[i], words[i]));
  return result;
}

inline OnnxValue emit_multi_head_attention(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  require_known(layer,
      {"embed_dim", "num_heads", "dropout", "bias", "add_bias_kv", "add_zero_attn", "kdim", "vdim", "causal", "num_kv_heads", "alibi"},
      {"rotary", "out_proj"});
  require(in.size() == 1 || in.size() == 3, "write_onnx: ", layer.label(), " takes x, or q, k and v, found ", in.size(), " inputs");
  std::vector<OnnxValue> qkv = emit_qkv(graph, layer, in);
  for (const DescribedLayer& child : layer.children)
    if (child.kind == "RotaryEmbedding") qkv[0] = emit_rotary(graph, child, qkv[0], "q"), qkv[1] = emit_rotary(graph, child, qkv[1], "k");
  const OnnxValue k = emit_appended(graph, layer, qkv[1], "bias_k", "k"), v = emit_appended(graph, layer, qkv[2], "bias_v", "v");
  const OnnxValue context = emit_attention(graph, layer, qkv[0], k, v,
      {.heads = layer.integer("num_heads"),
          .kv_heads = layer.integer("num_kv_heads"),
          .causal = layer.flag("causal"),
          .always = k.shape[1] - qkv[1].shape[1],
          .slopes = layer.find("alibi_slopes") ? layer.tensor("alibi_slopes").floats() : std::vector<float>()},
      "context");
  return graph.emit(layer.child("out_proj"), context);
}

/// What the RelativePositionBias of a fusion adds to the scores of so many tokens, (heads, tokens, tokens): its table by y_i - y_j and x_i - x_j on a map, by
/// j - i in a sequence.
inline std::vector<float> relative_bias_of(const DescribedLayer& layer, Index tokens) {
  const bool map = layer.has_option("map");
  require_known(layer, map ? std::initializer_list<std::string_view>{"num_heads", "map"}
                           : std::initializer_list<std::string_view>{"num_heads", "max_distance"});
  const std::vector<Index> sides = map ? layer.integers("map") : std::vector<Index>{1, layer.integer("max_distance") + 1};
  const std::vector<float> table = layer.tensor(map ? "relative_position_bias_table" : "weight").floats();
  const Index heads = layer.integer("num_heads"), h = sides[0], w = sides[1];
  std::vector<float> bias;
  for (Index head = 0; head < heads; ++head)
    for (Index i = 0; i < tokens; ++i)
      for (Index j = 0; j < tokens; ++j) {
        const Index row = map ? (i / w - j / w + h - 1) * (2 * w - 1) + (i % w - j % w + w - 1) : j - i + w - 1;
        bias.push_back(table[static_cast<std::size_t>(row * heads + head)]);
      }
  return bias;
}

/// Y = X + W_o [C; U] + b on tokens; a map comes back as a map.
inline OnnxValue emit_attention_fusion(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  require_known(layer, {"features", "num_heads", "attention", "dropout"}, {"norm", "position", "qkv", "out", "relative"});
  const Index features = layer.integer("features"), heads = layer.integer("num_heads"),
              tokens = in[0].shape.size() / in[0].shape[0] / features;
  const OnnxValue x = graph.reshape(layer, in[0], {in[0].shape[0], tokens, features}, "tokens");
  const OnnxValue u = graph.emit(layer.child("position"), graph.emit(layer.child("norm"), x));
  const OnnxValue projected = graph.emit(layer.child("qkv"), u);
  const std::vector<std::string> parts =
      graph.nodes(layer, "Split", {projected.name, graph.integers({features, features, features})}, {{"axis", -1}}, {"q", "k", "v"});
  const std::string& kind = layer.option("attention");
  OnnxValue context{parts[2], x.shape};  // of "identity"
  if (kind == "full") {
    OnnxAttention a{.heads = heads, .kv_heads = heads};
    if (layer.has_child("relative")) a.bias = relative_bias_of(layer.child("relative"), tokens);
    context = emit_attention(graph, layer, {parts[0], x.shape}, {parts[1], x.shape}, context, a, "context");
  } else if (kind == "uniform") {
    const std::string mean = graph.node(layer, "ReduceMean", {context.name, graph.integers({1})}, {{"keepdims", 1}}, "mean");
    const std::string shape = graph.node(layer, "Shape", {context.name}, {}, "shape");
    context.name = graph.node(layer, "Expand", {mean, shape}, {}, "context");
  } else {
    require(kind == "identity", "write_onnx: ", layer.label(), ": the kind of attention ", kind, " is not known");
  }
  const OnnxValue both[] = {context, u};
  const bool map = in[0].shape.rank() == 4;
  const OnnxValue sum = emit_sum(graph, layer, x, graph.emit(layer.child("out"), both), map ? "sum" : "");
  return graph.reshape(layer, sum, in[0].shape, "");
}

inline OnnxValue emit_transformer_encoder(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  require_known(layer,
      {"d_model", "nhead", "dim_feedforward", "dropout", "activation", "layer_norm_eps", "norm_first", "bias", "causal", "num_kv_heads"},
      {"self_attn", "linear1", "linear2", "norm1", "norm2"});
  const auto child = [&](std::string_view name, const OnnxValue& x) { return graph.emit(layer.child(name), x); };
  const auto feed_forward = [&](const OnnxValue& x) {
    OnnxValue hidden = child("linear1", x);
    hidden.name = graph.node(layer, layer.option("activation") == "gelu" ? "Gelu" : "Relu", {hidden.name}, {}, "activation");
    return child("linear2", hidden);
  };
  const OnnxValue& x = in[0];
  if (layer.flag("norm_first")) {
    const OnnxValue s = emit_sum(graph, layer, x, child("self_attn", child("norm1", x)), "sum1");
    return emit_sum(graph, layer, s, feed_forward(child("norm2", s)));
  }
  const OnnxValue n = child("norm1", emit_sum(graph, layer, x, child("self_attn", x), "sum1"));
  return child("norm2", emit_sum(graph, layer, n, feed_forward(n), "sum2"));
}

/// y = Σ over tokens of softmax(x · weight) x.
inline OnnxValue emit_sequence_pool(OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
  const Index features = layer.integer("features"), tokens = in[0].shape.size() / in[0].shape[0] / features;
  const OnnxValue x = graph.reshape(layer, in[0], {in[0].shape[0], tokens, features}, "tokens");
  const OnnxValue scores = emit_product(graph, layer, x, graph.parameter(layer, "weight"), "", 1, "scores");
  const std::string weights = graph.node(layer, "Softmax", {scores.name}, {{"axis", 1}}, "weights");
  const std::string shares = graph.node(layer, "Mul", {weights, x.name}, {}, "shares");
  return {graph.node(layer, "ReduceSum", {shares, graph.integers({1})}, {{"keepdims", 0}}), {x.shape[0], features}};
}

}  // namespace detail

/// Attention and what is built on it.
inline OnnxEmitters onnx_attention_emitters() {
  OnnxEmitters emitters;
  emitters["ScaledDotProductAttention"] = detail::emit_scaled_dot_product;
  emitters["MultiHeadAttention"] = detail::emit_multi_head_attention;
  emitters["AttentionFusion"] = detail::emit_attention_fusion;
  emitters["TransformerEncoderLayer"] = detail::emit_transformer_encoder;
  emitters["RotaryEmbedding"] = [](OnnxGraph& graph, const DescribedLayer& layer, std::span<const OnnxValue> in) {
    return detail::emit_rotary(graph, layer, in[0]);
  };
  emitters["SequencePool"] = detail::emit_sequence_pool;
  return emitters;
}

}  // namespace heed::inline HEED_ABI::io
